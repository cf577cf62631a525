package cli

import (
	"fmt"
	"os"
	"slices"
)

// Colours of a terminal (ECMA-48).
const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
)

// noColour is set by --no-color, before anything is printed.
var noColour bool

// NoColour takes --no-color from the arguments, also when they cannot be parsed.
func NoColour(args []string) { noColour = slices.Contains(args, "--no-color") }

// colours reports whether w shows colours: a terminal, unless NO_COLOR (no-color.org), a dumb
// terminal or --no-color says otherwise.
func colours(w any) bool {
	return isTerminal(w) && !noColour && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// paint colours a text where w shows colours.
func paint(w any, colour, text string) string {
	if text == "" || !colours(w) {
		return text
	}
	return colour + text + "\x1b[0m"
}

// painted is a text whose colours a Printf keeps. It holds no text of others.
type painted string

// state paints a word for a state, in a column of that width: good, bad or in between.
func (o *Output) state(word string, width int) painted {
	text := fmt.Sprintf("%-*s", width, Escape(word))
	switch word {
	case "ready", "up", "running", "ok":
		return painted(paint(o.Writer, green, text))
	case "NOT READY", "away", "halted", "failed":
		return painted(paint(o.Writer, red, text))
	}
	return painted(paint(o.Writer, yellow, text))
}
