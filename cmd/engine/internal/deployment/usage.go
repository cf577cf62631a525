package deployment

import "fmt"

// UsageError is a mistake in the arguments or the configuration of the program,
// found before anything was done. The program ends with exit code 2.
type UsageError struct{ err error }

// Usagef makes a *UsageError; its arguments are those of fmt.Errorf.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

func (e *UsageError) Error() string { return e.err.Error() }
func (e *UsageError) Unwrap() error { return e.err }
