package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
)

// pastVersion is one line of queries.agent.<agent>.history.
type pastVersion struct {
	Key        string          `json:"key"`
	Value      json.RawMessage `json:"value"`
	Version    uint64          `json:"version"`
	Revision   uint64          `json:"revision"`
	CommandID  string          `json:"command_id"`
	RecordedAt time.Time       `json:"recorded_at"`
}

type pastPage struct {
	Versions []pastVersion `json:"versions"`
	Cursor   string        `json:"cursor"`
}

// printTimeline prints the writes of an agent from the engine's history.
func (c *Demo) printTimeline(ctx context.Context, w *cli.Output, l *links, writes []written) error {
	steps := map[string]int{} // by command id
	var keys []string
	for _, wr := range writes {
		steps[wr.id] = wr.step
		if !slices.Contains(keys, wr.key) {
			keys = append(keys, wr.key)
		}
	}
	var all []pastVersion
	for _, key := range keys {
		past, err := pastOf(ctx, l, c.Agent, key, steps)
		if err != nil {
			return err
		}
		all = append(all, past...)
	}
	slices.SortFunc(all, func(a, b pastVersion) int { return cmp.Compare(a.Revision, b.Revision) })
	w.Printf("\nThe writes of %s, from %s:\n", c.Agent, c.Subject("queries.agent."+c.Agent+".history"))
	for i, v := range all {
		if i == c.Lines && c.Lines > 0 {
			w.Printf("  … and %d more (--lines 0 prints all)\n", len(all)-i)
			break
		}
		w.Printf("  +%8.3fs  step %-3d %-11s v%-4d %s\n",
			v.RecordedAt.Sub(all[0].RecordedAt).Seconds(), steps[v.CommandID], v.Key, v.Version, glimpse(v.Value, 100))
	}
	return nil
}

// pastOf reads an entry's history backwards to the first write of this run.
func pastOf(ctx context.Context, l *links, agent, key string, ours map[string]int) (all []pastVersion, err error) {
	type question struct {
		Key    string `json:"key"`
		Limit  int    `json:"limit"`
		Cursor string `json:"cursor,omitempty"`
	}
	for cursor := ""; ; {
		var page pastPage
		if _, err := l.query(ctx, 0, agent, "history", question{key, 50, cursor}, &page); err != nil {
			return nil, err
		}
		for _, v := range page.Versions {
			if _, mine := ours[v.CommandID]; !mine {
				return all, nil
			}
			all = append(all, v)
		}
		if cursor = page.Cursor; cursor == "" {
			return all, nil
		}
	}
}

// glimpse is the beginning of a value on one line, without characters that move
// a terminal's cursor.
func glimpse(value json.RawMessage, width int) string {
	text := string(value)
	var s string
	if json.Unmarshal(value, &s) == nil {
		text = s
	}
	var b strings.Builder
	n := 0
	last := ' '
	for _, c := range strings.TrimRight(text, "\n") {
		switch {
		case c == '\n':
			c = '⏎'
		case unicode.IsSpace(c):
			c = ' '
		case !unicode.IsPrint(c):
			c = '·'
		}
		if c == ' ' && last == ' ' {
			continue
		}
		if n++; n > width {
			return b.String() + "…"
		}
		b.WriteRune(c)
		last = c
	}
	return b.String()
}
