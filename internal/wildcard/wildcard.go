// Package wildcard matches patterns with "*" over any characters: those of grants and those
// of declared views.
package wildcard

import "strings"

// Match reports whether a pattern matches all of text; "*" matches any characters,
// also none.
func Match(pattern, text string) bool {
	first, rest, more := strings.Cut(pattern, "*")
	if !more {
		return pattern == text
	}
	if !strings.HasPrefix(text, first) {
		return false
	}
	text = text[len(first):]
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], next
	}
}
