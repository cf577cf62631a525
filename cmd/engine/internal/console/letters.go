package console

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// lettersData is what the page of dead letters shows.
type lettersData struct {
	page DeadLetterPage
	held []Quarantined
	more bool  // in quarantine
	err  error // of the quarantine
}

// quarantineRows bounds the quarantined aggregates that the page shows.
const quarantineRows = 100

func (c *Console) deadLetters(r *request) (view, error) {
	var d lettersData
	var err error
	after, _ := strconv.ParseUint(r.query("cursor"), 10, 64) // 0: from the first
	if d.page, err = c.cfg.Operations.DeadLetters(r.Context(), r.caller(), after, listRows); err != nil {
		return view{}, err
	}
	d.held, d.more, d.err = c.cfg.Operations.Quarantined(r.Context(), r.caller(), quarantineRows)
	return view{title: "Dead letters and quarantine", nav: "/dlq", body: lettersPage(r, d), live: true}, nil
}

// next is the cursor of the next page.
func (d *lettersData) next() string {
	if n := len(d.page.Letters); d.page.More && n > 0 {
		return text(d.page.Letters[n-1].Seq)
	}
	return ""
}

// shownBody bounds the body of a dead letter on the page.
const shownBody = 2000

// bodyText is the body of a dead letter as text: indented if it is JSON.
func bodyText(body []byte) string {
	if json.Valid(body) && len(body) <= shownBody {
		return indented(body)
	}
	s := strings.ToValidUTF8(string(body[:min(len(body), shownBody)]), "\ufffd")
	if len(body) > shownBody {
		s += "… " + strconv.Itoa(len(body)) + " bytes"
	}
	if !utf8.Valid(body) {
		s += " (not UTF-8)"
	}
	return s
}

func retryLetter(r *request, f url.Values) (plan, error) { return settleLetter(r, f, false) }
func dropLetter(r *request, f url.Values) (plan, error)  { return settleLetter(r, f, true) }

// settleLetter plans to retry or drop one or all. The plan is a dry run.
func settleLetter(r *request, f url.Values, drop bool) (plan, error) {
	which := f.Get("which")
	ops, who := r.c.cfg.Operations, r.caller()
	verb, again := "retry", "are tried again: commands with the same command ids, which take effect at most once, and events from the one that the view could not apply."
	if drop {
		verb, again = "drop", "are dropped for good. The events stay in the journal; a view leaves dropped ones out until it is rebuilt."
	}
	p := plan{
		title: "Retry", button: "Retry", danger: drop, back: "/dlq",
		line: "engine dlq " + verb + r.c.cfg.Flags + " " + shellWord(which),
		do: func(ctx context.Context, _ string) (any, error) {
			return ops.Settle(ctx, who, which, drop)
		},
	}
	if drop {
		p.title, p.button = "Drop", "Drop"
	}
	if f.Get("command_id") != "" { // confirmed
		p.says = which + ": " + verb
		return p, nil
	}
	a, err := ops.DryRun(r.Context(), who, which)
	if err != nil {
		return plan{}, err
	}
	p.says = "Dry run: " + a.String() + " " + again
	p.more = affected(a)
	return p, nil
}

// String says how much it is: "3 events of 2 aggregates".
func (a Affected) String() string {
	var parts []string
	if a.Letters > 0 {
		parts = append(parts, plural(a.Letters, "dead letter"))
	}
	if a.Events > 0 || a.Letters == 0 {
		parts = append(parts, plural(a.Events, "event"))
	}
	return strings.Join(parts, " and ") + " of " + plural(a.Aggregates, "aggregate")
}

func plural(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return count(uint64(max(n, 0))) + " " + word
}

// shellWord is a word of a command line, quoted if it must be.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("_-.:/", c)
	}) {
		return s
	}
	return quoted(s)
}
