// Package counted writes numbers for people: with their noun, and as a time.
package counted

import (
	"fmt"
	"time"
)

// Noun returns a noun in the singular after 1, else in the plural with an s.
func Noun[N int | int64 | uint64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return noun
}

// Of returns "1 event" or "2 events".
func Of[N int | int64 | uint64](n N, noun string) string {
	return fmt.Sprintf("%d %s", n, Noun(n, noun))
}

// Seconds is a time as a person reads it, to a hundredth of a second.
func Seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond).String()
}
