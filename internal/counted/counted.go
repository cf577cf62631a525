// Package counted has the form of a noun after a number.
package counted

import "fmt"

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
