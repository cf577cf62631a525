package grants

import (
	"fmt"
	"slices"
	"strings"
)

// Grant allows some verbs on what its pattern matches.
type Grant struct {
	Kind      Kind
	Aggregate string   // "*" = every one; empty for Admin
	ID        string   // pattern of ids; empty for Admin
	Key       string   // pattern of keys; empty = the whole agent
	Verbs     []string // sorted; empty = all. Areas for Admin.
	Holder    bool     // only for a task that is assigned to an agent of the principal, or to none, or a claim with such an owner
}

// String is the grant as Parse reads it.
func (g Grant) String() string {
	text := string(g.Kind)
	if g.Kind != Admin {
		text += " " + g.Aggregate + ":" + g.ID
		if g.Key != "" {
			text += "." + g.Key
		}
	}
	switch {
	case len(g.Verbs) > 0:
		text += " " + strings.Join(g.Verbs, ",")
	case g.Kind == Admin:
		text += " *"
	}
	if g.Holder {
		text += " when holder"
	}
	return text
}

// MarshalText implements encoding.TextMarshaler.
func (g Grant) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *Grant) UnmarshalText(text []byte) (err error) {
	*g, err = Parse(string(text))
	return err
}

// SyntaxError says where a grant cannot be read, and why.
type SyntaxError struct {
	Text string
	At   int // byte, from 0
	Why  string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("grant %.200q, at character %d: %s", e.Text, e.At+1, e.Why)
}

// word is a word of a grant and where it begins.
type word struct {
	text string
	at   int
}

func words(text string) (all []word) {
	for i := 0; i < len(text); {
		if text[i] == ' ' {
			i++
			continue
		}
		end := strings.IndexByte(text[i:], ' ')
		if end < 0 {
			end = len(text) - i
		}
		all = append(all, word{text[i : i+end], i})
		i += end
	}
	return all
}

// maxGrant is the longest grant in bytes.
const maxGrant = 1024

// Parse reads a grant:
//
//	command AGGREGATE:ID[.KEY] [VERB,…] [when holder]
//	query   AGGREGATE:ID[.KEY] [QUERY,…] [when holder]
//	watch   AGGREGATE:ID[.KEY]
//	admin   * or AREA,…
//
// Its error is a *SyntaxError.
func Parse(text string) (Grant, error) {
	fail := func(at int, format string, args ...any) (Grant, error) {
		return Grant{}, &SyntaxError{text, at, fmt.Sprintf(format, args...)}
	}
	if len(text) > maxGrant {
		return fail(maxGrant, "it has %d bytes, at most %d are accepted", len(text), maxGrant)
	}
	w := words(text)
	if len(w) == 0 {
		return fail(0, "it is empty: a grant begins with command, query, watch or admin")
	}
	g := Grant{Kind: Kind(w[0].text)}
	if g.Kind != Command && g.Kind != Query && g.Kind != Watch && g.Kind != Admin {
		return fail(w[0].at, "%.64q is not command, query, watch or admin", w[0].text)
	}
	if len(w) == 1 {
		need := "a target like agent:alice-*"
		if g.Kind == Admin {
			need = "* or some of " + strings.Join(areas, ",")
		}
		return fail(len(text), "%s needs %s", g.Kind, need)
	}
	rest := w[1:]
	if g.Kind != Admin {
		if at, why := g.target(rest[0]); why != "" {
			return fail(at, "%s", why)
		}
		rest = rest[1:]
	}
	if len(rest) > 0 && rest[0].text != "when" {
		if g.Kind == Watch {
			return fail(rest[0].at, "a watch has no verbs")
		}
		if at, why := g.verbs(rest[0]); why != "" {
			return fail(at, "%s", why)
		}
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return g, nil
	}
	if rest[0].text != "when" {
		return fail(rest[0].at, "%.64q is not expected here: verbs are joined by commas, a condition is \"when holder\"", rest[0].text)
	}
	if len(rest) == 1 || rest[1].text != "holder" {
		return fail(rest[0].at, "the only condition is \"when holder\"")
	}
	if len(rest) > 2 {
		return fail(rest[2].at, "%.64q is not expected after \"when holder\"", rest[2].text)
	}
	if g.Aggregate != "task" && g.Aggregate != "claim" || g.Kind == Watch {
		return fail(rest[0].at, "only commands and queries of tasks and claims have a holder")
	}
	g.Holder = true
	return g, nil
}

// target reads AGGREGATE:ID[.KEY]; why is empty when that was possible.
func (g *Grant) target(w word) (at int, why string) {
	aggregate, pattern, ok := strings.Cut(w.text, ":")
	if !ok {
		return w.at, fmt.Sprintf("%.64q is not AGGREGATE:ID, like agent:alice-*", w.text)
	}
	if known := aggregates(g.Kind); aggregate != "*" && !slices.Contains(known, aggregate) {
		return w.at, fmt.Sprintf("%s grants are for %s or *, not for %.64q", g.Kind, strings.Join(known, ", "), aggregate)
	}
	at = w.at + len(aggregate) + 1
	id, key, hasKey := strings.Cut(pattern, ".")
	if id == "" || len(id) > maxID || !only(id, idCharacters+"*") {
		return at, fmt.Sprintf("%.64q is not a pattern of ids: 1 to %d of A-Z a-z 0-9 _ - and *", id, maxID)
	}
	if hasKey {
		at += len(id) + 1
		if aggregate != "agent" && aggregate != "config" {
			return at, fmt.Sprintf("%s has no keys: the pattern is one id", aggregate)
		}
		if key == "" || len(key) > maxKey || !only(key, keyCharacters+"*") || key[0] == '.' || key[len(key)-1] == '.' || strings.Contains(key, "..") {
			return at, fmt.Sprintf("%.64q is not a pattern of keys: tokens of A-Z a-z 0-9 _ - = / and *, joined by single dots", key)
		}
	}
	g.Aggregate, g.ID, g.Key = aggregate, id, key
	return 0, ""
}

// verbs reads VERB,VERB.
func (g *Grant) verbs(w word) (at int, why string) {
	at = w.at
	known := areas
	if g.Kind != Admin {
		known = verbsOf(g.Kind, g.Aggregate)
	}
	for verb := range strings.SplitSeq(w.text, ",") {
		switch {
		case verb == "*" && w.text == "*":
			return 0, ""
		case !slices.Contains(known, verb):
			what := "verb"
			if g.Kind == Query {
				what = "query"
			}
			if g.Kind == Admin {
				return at, fmt.Sprintf("%.64q is not an area: there are %s", verb, strings.Join(known, ", "))
			}
			return at, fmt.Sprintf("%s has no %s %.64q: there are %s", g.Aggregate, what, verb, strings.Join(known, ", "))
		case !slices.Contains(g.Verbs, verb):
			g.Verbs = append(g.Verbs, verb)
		}
		at += len(verb) + 1
	}
	slices.Sort(g.Verbs)
	return 0, ""
}
