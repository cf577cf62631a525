package cli

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Escape writes every character that is not printable (control characters, line
// breaks, escape sequences, characters that change the direction of text) as in a
// Go string: \x1b, \n, \u202e. Clients choose names, reasons and values, and a
// terminal must not obey them.
func Escape(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unprintable(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// unprintable includes utf8.RuneError, which stands for a byte that is no text.
func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }

// escapeAll escapes the texts among the arguments of a Printf.
func escapeAll(args []any) []any {
	safe := make([]any, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case painted:
			safe[i] = string(v)
		case error:
			safe[i] = Escape(v.Error())
		case fmt.Stringer:
			safe[i] = Escape(v.String())
		case []byte:
			safe[i] = Escape(string(v))
		default:
			switch r := reflect.ValueOf(a); r.Kind() {
			case reflect.String:
				safe[i] = Escape(r.String())
			case reflect.Slice, reflect.Map, reflect.Struct:
				safe[i] = Escape(fmt.Sprint(a))
			default:
				safe[i] = a
			}
		}
	}
	return safe
}

// escapeJSON is the same JSON value without unprintable characters: \u202e in
// strings, spaces and tabs between tokens.
func escapeJSON(b []byte) []byte {
	if strings.IndexFunc(string(b), unprintable) < 0 {
		return b
	}
	safe := make([]byte, 0, len(b)+16)
	for _, r := range string(b) {
		switch {
		case r == '\t':
			safe = append(safe, '\t')
		case r < ' ': // a line break, because strings cannot have it
			safe = append(safe, ' ')
		case !unprintable(r):
			safe = utf8.AppendRune(safe, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			safe = fmt.Appendf(safe, `\u%04x\u%04x`, high, low)
		default:
			safe = fmt.Appendf(safe, `\u%04x`, r)
		}
	}
	return safe
}
