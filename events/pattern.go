package events

import (
	"slices"
	"strings"
)

// Pattern selects aggregates by their names: tokens joined by single dots, of which "*"
// stands for one token, and ">", as the last one, for one or more. An empty pattern
// selects all.
type Pattern string

// Valid reports whether p is a pattern: its wildcards are whole tokens.
func (p Pattern) Valid() bool {
	if p == "" || p == ">" {
		return true
	}
	literal := strings.NewReplacer("*", "_").Replace(strings.TrimSuffix(string(p), ".>"))
	if !AggregateName(literal).Valid() {
		return false
	}
	for token := range strings.SplitSeq(string(p), ".") {
		if len(token) > 1 && strings.Contains(token, "*") {
			return false
		}
	}
	return true
}

// Matches reports whether the pattern selects an aggregate.
func (p Pattern) Matches(name AggregateName) bool {
	if p == "" {
		return true
	}
	pattern, text := string(p), string(name)
	for {
		want, morePattern, patternGoesOn := strings.Cut(pattern, ".")
		got, moreText, textGoesOn := strings.Cut(text, ".")
		switch {
		case want == ">":
			return true
		case want != "*" && want != got:
			return false
		case !patternGoesOn || !textGoesOn:
			return patternGoesOn == textGoesOn
		}
		pattern, text = morePattern, moreText
	}
}

// Names are the patterns that together select every name.
var Names = []Pattern{
	Pattern(StateEntry("*", ">")), Pattern(EntryConflicts("*", ">")), Pattern(Lifecycle("*")), Pattern(Config("*", ">")),
	Pattern(Task("*")), Pattern(Session("*")), Pattern(Claim("*")), Pattern(Reminder("*")), Pattern(View("*")),
	Pattern(Inbox("*")), Pattern(Sent("*")), Pattern(Require("*")),
}

// Selects reports whether p can match any name: one that misspells a token which all
// names have cannot.
func (p Pattern) Selects() bool {
	return p == "" || slices.ContainsFunc(Names, p.overlaps)
}

// overlaps reports whether a name can match both patterns.
func (p Pattern) overlaps(other Pattern) bool {
	a, b := strings.Split(string(p), "."), strings.Split(string(other), ".")
	for i := range min(len(a), len(b)) {
		if a[i] == ">" || b[i] == ">" {
			return true
		}
		if a[i] != b[i] && a[i] != "*" && b[i] != "*" {
			return false
		}
	}
	return len(a) == len(b)
}

// Of returns the aggregate and the id that all names which p selects have; ok is false
// when they may have several.
func (p Pattern) Of() (aggregate, id string, ok bool) {
	aggregate, rest, _ := strings.Cut(string(p), ".")
	id, _, _ = strings.Cut(rest, ".")
	wild := func(token string) bool { return token == "" || token == "*" || token == ">" }
	return aggregate, id, !wild(aggregate) && !wild(id)
}
