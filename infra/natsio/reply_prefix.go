package natsio

import (
	"fmt"
	"strings"
)

// CheckReplyPrefix accepts a prefix of the subjects that replies are sent to: a
// subject, or the beginning of one.
func CheckReplyPrefix(prefix string) error {
	if prefix == "" || strings.ContainsFunc(prefix, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '*' || r == '>' }) ||
		strings.HasPrefix(prefix, ".") || strings.Contains(prefix, "..") {
		return fmt.Errorf("--reply-prefixes: %q is not the beginning of a subject", prefix)
	}
	return nil
}
