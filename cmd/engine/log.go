package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/alecthomas/kong"
)

// newLog is text on a terminal and JSON elsewhere, unless a style is asked for.
func newLog(w io.Writer, level, style string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // the flag's enum lets only levels through
	opts := &slog.HandlerOptions{Level: l}
	if style == "text" || style == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

// isTerminal tells whether people read w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// envSet tells whether one of a flag's environment variables is set.
func envSet(flag *kong.Flag) bool {
	for _, name := range flag.Envs {
		if _, ok := os.LookupEnv(name); ok {
			return true
		}
	}
	return false
}
