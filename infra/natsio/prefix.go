package natsio

import (
	"fmt"
	"regexp"
	"strings"
)

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$`)

// maxPrefix is the longest subject prefix in bytes: the server bounds the line
// that carries the subject.
const maxPrefix = 128

// CheckPrefix fails if a configured subject_prefix cannot start a subject.
func CheckPrefix(prefix string) error {
	first, _, _ := strings.Cut(prefix, ".")
	switch {
	case prefix == "":
		return nil
	case !prefixForm.MatchString(prefix) || len(prefix) > maxPrefix:
		return fmt.Errorf("--subject-prefix %.150q: a prefix consists of up to %d of A-Z a-z 0-9 _ -, in tokens joined by single dots", prefix, maxPrefix)
	case first == "_INBOX" || first == "_R_":
		return fmt.Errorf("--subject-prefix %q: NATS uses %s for replies; choose another first token", prefix, first)
	}
	return nil
}
