package events

import "strings"

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

// Of returns the aggregate and the id that all names which p selects have; ok is false
// when they may have several.
func (p Pattern) Of() (aggregate, id string, ok bool) {
	aggregate, rest, _ := strings.Cut(string(p), ".")
	id, _, _ = strings.Cut(rest, ".")
	wild := func(token string) bool { return token == "" || token == "*" || token == ">" }
	return aggregate, id, !wild(aggregate) && !wild(id)
}
