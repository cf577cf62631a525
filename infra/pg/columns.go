package pg

import "time"

// splitNanos parts a time into what timestamptz keeps, whole microseconds, and
// the nanoseconds below.
func SplitNanos(t time.Time) (time.Time, int16) {
	rest := t.Nanosecond() % 1000
	return t.Add(-time.Duration(rest)), int16(rest)
}

func Optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
