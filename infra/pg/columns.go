package pg

import (
	"strings"
	"time"
	"unicode/utf8"
)

// SplitNanos splits a time into whole microseconds, which timestamptz can store,
// and the remaining nanoseconds.
func SplitNanos(t time.Time) (time.Time, int16) {
	rest := t.Nanosecond() % 1000
	return t.Add(-time.Duration(rest)), int16(rest)
}

// Optional returns nil, which is NULL, for an empty string.
func Optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// ValidText replaces invalid UTF-8 and NUL, which PostgreSQL rejects in text, by
// U+FFFD.
func ValidText(s string) string {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}
