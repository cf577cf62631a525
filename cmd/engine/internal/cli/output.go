package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/term"

	"github.com/tidemark-engine/tidemark/internal/redact"
)

// Output is where a subcommand prints its result. Printf and the functions that
// use it print text for people, in which they escape what a terminal would obey;
// JSON prints values as they are.
type Output struct {
	io.Writer
	// JSON chooses the machine output.
	AsJSON bool
	// Program is named in texts.
	Program Program

	lost atomic.Pointer[error] // see Lost
}

// Write implements io.Writer.
func (o *Output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if err != nil {
		o.lost.CompareAndSwap(nil, &err)
	}
	return n, err
}

// Lost is the error of a subcommand that ended with err: where that says nothing, the first
// error of the output, which not every subcommand looks at.
func (o *Output) Lost(err error) error {
	if lost := o.lost.Load(); lost != nil && (err == nil || errors.Is(err, ErrFailed)) {
		return *lost
	}
	return err
}

// Version is the version of the build.
type Version string

// Commit is the commit of the build; empty = what the Go toolchain has noted.
type Commit string

// NewLog logs text on a terminal and JSON elsewhere, or in the given style.
func NewLog(w io.Writer, level, style string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // the flag allows only levels
	opts := &slog.HandlerOptions{Level: l, ReplaceAttr: readable}
	if style == "text" || style == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

// readable writes durations with their unit, and is the last stop for secrets in what others put
// into an error.
func readable(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case time.Duration:
		a.Value = slog.StringValue(v.Round(time.Millisecond).String())
	case string:
		a.Value = slog.StringValue(redact.Text(v))
	case error:
		a.Value = slog.StringValue(redact.Text(errorText(v)))
	}
	return a
}

// errorText is an error on one line: pgx puts each attempt to connect on a line of its own, twice
// where TLS is only preferred.
func errorText(err error) string {
	text := err.Error()
	if connect := new(pgconn.ConnectError); errors.As(err, &connect) {
		lines := strings.Split(connect.Error(), "\n\t")
		slices.Sort(lines[1:])
		text = strings.Replace(text, connect.Error(), lines[0]+" "+strings.Join(slices.Compact(lines[1:]), "; "), 1)
	}
	return text
}

// Terminal is a writer that counts as a terminal.
type Terminal struct{ io.Writer }

func isTerminal(f any) bool {
	switch w := f.(type) {
	case Terminal:
		return true
	case spinning:
		return isTerminal(w.Writer)
	}
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Printf prints text; it escapes the control characters in its arguments. Where the last one of a
// line is empty, no space ends the line.
func (o *Output) Printf(format string, args ...any) {
	text := fmt.Sprintf(o.Program.Text(format), escapeAll(args)...)
	if line, whole := strings.CutSuffix(text, " \n"); whole {
		text = strings.TrimRight(line, " ") + "\n"
	}
	fmt.Fprint(o, text)
}

// JSON prints v on one line, with < and > as they are.
func (o *Output) JSON(v any) error {
	e := json.NewEncoder(o)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Result prints v as JSON, or else calls text.
func (o *Output) Result(v any, text func()) error {
	if o.AsJSON {
		return o.JSON(v)
	}
	text()
	return nil
}

// Document prints JSON as it came, or else on one line and harmless to a terminal.
func (o *Output) Document(body []byte) error {
	_, err := o.Write(append(o.line(body), '\n'))
	return err
}

// line is the line of a document.
func (o *Output) line(body []byte) []byte {
	if !o.AsJSON {
		body = escapeJSON(body)
	}
	return bytes.Clone(oneLine(body))
}

// Table prints rows in columns; each calls row for every one.
func (o *Output) Table(header string, each func(row func(format string, args ...any))) {
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, header)
	each(func(format string, args ...any) { fmt.Fprintf(table, format+"\n", escapeAll(args)...) })
	_ = table.Flush() // into memory
	head, rows, _ := strings.Cut(text.String(), "\n")
	fmt.Fprintln(o, paint(o.Writer, bold, head)) // painted at last: the table counts bytes
	fmt.Fprint(o, rows)
}

// encodeJSON encodes v, with < and > as they are.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	err := (&Output{Writer: &b}).JSON(v)
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

// WantsJSON reports whether the arguments ask for machine output, also when they
// cannot be parsed.
func WantsJSON(args []string) bool {
	for _, a := range args {
		switch a {
		case "--":
			return false
		case "--json", "--json=true":
			return true
		}
	}
	return false
}
