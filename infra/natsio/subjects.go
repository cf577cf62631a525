package natsio

import (
	"fmt"
	"regexp"
	"strings"
)

// Subjects builds the subjects of the wire contract with the configured prefix.
type Subjects struct{ prefix string }

// NewSubjects takes the configured subject_prefix, with or without a trailing
// dot; empty means no prefix.
func NewSubjects(prefix string) Subjects {
	if prefix != "" {
		prefix = strings.TrimSuffix(prefix, ".") + "."
	}
	return Subjects{prefix: prefix}
}

// Root returns the prefix followed by root, which ends with a dot: "events.".
func (s Subjects) Root(root string) string { return s.prefix + root }

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

// ownRoots are the roots of the subjects that the engine publishes to, answers or
// stores in streams that no topology document describes.
var ownRoots = []string{
	"events", "commands", "queries", "enqueue", "lanes", "outcomes", "deadletters", "timers", "engines", "audit",
}

// OwnSubject returns the pattern of the engine that a subject or wildcard pattern
// overlaps; "" = none. Subjects that start with $ belong to the server.
func (s Subjects) OwnSubject(subject string) string {
	if Overlaps(subject, "$>") {
		return "$…"
	}
	for _, root := range ownRoots {
		if own := s.prefix + root + ".>"; Overlaps(subject, own) {
			return own
		}
	}
	return ""
}

// Overlaps reports whether a subject can match both patterns. The token "$>" of
// the second matches every token that starts with $.
func Overlaps(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; ; i++ {
		switch {
		case i == len(as) || i == len(bs):
			return len(as) == len(bs)
		case bs[i] == "$>":
			return strings.HasPrefix(as[i], "$")
		case as[i] == ">" || bs[i] == ">":
			return true
		case as[i] != "*" && bs[i] != "*" && as[i] != bs[i]:
			return false
		}
	}
}
