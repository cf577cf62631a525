package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// Output is where a subcommand prints its result.
type Output struct{ io.Writer }

// Version is the version of the build.
type Version string

// ErrFailed ends the program with exit code 1 and without a message, because
// the subcommand has printed what failed.
var ErrFailed = errors.New("failed")

// NewLog logs text on a terminal and JSON elsewhere, or in the given style.
func NewLog(w io.Writer, level, style string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // the flag allows only levels
	opts := &slog.HandlerOptions{Level: l}
	if style == "text" || style == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// JSON prints v on one line, with < and > as they are.
func (o *Output) JSON(v any) error {
	e := json.NewEncoder(o)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// encodeJSON encodes v, with < and > as they are.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	err := (&Output{&b}).JSON(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// oneLine puts JSON on one line. A raw line break in JSON is white space between
// tokens, so the value stays the same.
func oneLine(b []byte) []byte {
	if !bytes.ContainsAny(b, "\r\n") {
		return b
	}
	c := bytes.Clone(b)
	for i := range c {
		if c[i] == '\r' || c[i] == '\n' {
			c[i] = ' '
		}
	}
	return c
}
