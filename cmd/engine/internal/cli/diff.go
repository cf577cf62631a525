package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wI2L/jsondiff"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/counted"
)

// Diff shows how an aggregate changed between two instants: a JSON Patch (RFC
// 6902), and the events that caused it.
type Diff struct {
	deployment.Target
	Of   string `arg:"" help:"agent.<id>, config.<agent>, task.<id>, session.<id>, reminder.<id>, claim.<id> or view.<name>."`
	From string `required:"" help:"First instant, a revision or an RFC 3339 time; 0 = before the first event." placeholder:"REV|TIME"`
	To   string `help:"Second instant; default: now." placeholder:"REV|TIME"`

	noun, id string
	from, to instant
}

// Validate reads the arguments.
func (c *Diff) Validate() (err error) {
	c.noun, c.id, _ = strings.Cut(c.Of, ".")
	if _, known := differs[c.noun]; !known || c.id == "" {
		return fmt.Errorf("%q is not agent.<id>, config.<agent>, task.<id>, session.<id>, reminder.<id>, claim.<id> or view.<name>", c.Of)
	}
	if err := domain.CheckID(c.noun+" id", c.id); err != nil {
		return errors.New(domain.PublicText(err))
	}
	if c.from, err = parseInstant(c.From); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	if c.to, err = parseInstant(c.To); err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	if c.from.after(&c.to) {
		return errors.New("--from is after --to")
	}
	if c.from.at.After(time.Now()) {
		return errors.New("--from is in the future")
	}
	return nil
}

// differs read both states and the events, by noun.
var differs = map[string]func(*historyReader, context.Context, *changed) error{
	"agent": (*historyReader).entries, "config": (*historyReader).entries, "task": (*historyReader).document, "session": (*historyReader).document, "reminder": (*historyReader).document,
	"claim": (*historyReader).document, "view": (*historyReader).document,
}

// changed is the output of diff.
type changed struct {
	Of     string         `json:"of"`
	From   string         `json:"from"`
	To     string         `json:"to"`
	Patch  jsondiff.Patch `json:"patch"`
	Events []cause        `json:"events"`

	before, after json.RawMessage // the whole state, an object
}

// cause is one event between the two instants.
type cause struct {
	Revision   uint64 `json:"revision"`
	Type       string `json:"type"`
	Key        string `json:"key,omitempty"`
	Version    uint64 `json:"version"`
	CommandID  string `json:"command_id"`
	Writer     string `json:"writer"`
	Actor      string `json:"actor,omitempty"`
	RecordedAt string `json:"recorded_at"`
}

// Run implements the command.
func (c *Diff) Run(ctx context.Context, out *Output) error {
	nc, err := c.ConnectStores()
	if err != nil {
		return err
	}
	defer nc.Close()
	if c.to.name == "" { // all queries ask for the same instant
		if c.to, err = headOf(ctx, nc, &c.Target, c.noun, c.id); err != nil {
			return err
		}
		if c.from.revision > c.to.revision {
			return usagef("--from %d is beyond the head of the journal, %d", c.from.revision, c.to.revision)
		}
	}
	d := changed{Of: c.Of, From: c.from.String(), To: c.to.String(), Events: []cause{}}
	r := &historyReader{nc: nc, t: &c.Target, noun: c.noun, id: c.id, from: c.from, to: c.to}
	if err := differs[c.noun](r, ctx, &d); err != nil {
		return err
	}
	if d.Patch, err = jsondiff.CompareJSON(d.before, d.after, jsondiff.UnmarshalFunc(decodeNumbers)); err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	if d.Patch == nil {
		d.Patch = jsondiff.Patch{}
	}
	return out.Result(&d, func() { d.print(out) })
}

// decodeNumbers keeps numbers as they are written.
func decodeNumbers(b []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	return d.Decode(v)
}

func (d *changed) print(out *Output) {
	out.Printf("%s from %s to %s\n", d.Of, d.From, d.To)
	for _, op := range d.Patch {
		line := fmt.Sprintf("  %-7s %s", op.Type, op.Path)
		if op.Type != jsondiff.OperationRemove {
			value, _ := encodeJSON(op.Value) // it was decoded from JSON
			line += " " + string(value)
		}
		out.Printf("%s\n", line)
	}
	out.Printf("%s, caused by %s\n", counted.Of(len(d.Patch), "change"), counted.Of(len(d.Events), "event"))
	for _, e := range d.Events {
		by := ""
		if e.Writer != "" {
			by = ", writer " + e.Writer
		}
		if e.Actor != "" {
			by += ", actor " + e.Actor
		}
		out.Printf("  %8d  %s  %s %s  version %d, command %s%s\n", e.Revision, e.RecordedAt, e.Type, e.Key, e.Version, e.CommandID, by)
	}
}
