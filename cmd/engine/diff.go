package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/wI2L/jsondiff"
)

// diffCmd tells what became of an aggregate between two instants: a
// JSON Patch (RFC 6902), and the events that caused it.
type diffCmd struct {
	target
	Of   string `arg:"" help:"agent.<id>, config.<agent>, task.<id> or session.<id>."`
	From string `required:"" help:"From this revision or RFC 3339 time; 0 = from nothing." placeholder:"REV|TIME"`
	To   string `help:"To this one; default: now." placeholder:"REV|TIME"`
	JSON bool   `name:"json" help:"Machine output."`

	noun, id string
	from, to instant
}

// Validate reads the arguments.
func (c *diffCmd) Validate() (err error) {
	c.noun, c.id, _ = strings.Cut(c.Of, ".")
	if _, known := differs[c.noun]; !known || c.id == "" {
		return fmt.Errorf("%q is not agent.<id>, config.<agent>, task.<id> or session.<id>", c.Of)
	}
	if c.from, err = parseInstant(c.From); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	if c.to, err = parseInstant(c.To); err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	if c.from.name == c.to.name && (c.from.revision > c.to.revision || c.from.at.After(c.to.at)) {
		return errors.New("--from is after --to")
	}
	return nil
}

// differs tell by noun how both states and the events are found.
var differs = map[string]func(*pastReader, context.Context, *changed) error{
	"agent": (*pastReader).entries, "config": (*pastReader).entries, "task": (*pastReader).document, "session": (*pastReader).document,
}

// changed is what diff prints.
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
	RecordedAt string `json:"recorded_at"`
}

func (c *diffCmd) Run(ctx context.Context, out *output) error {
	nc, err := c.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	if c.to.name == "" { // one instant for all that is asked
		if c.to, err = headOf(ctx, nc, &c.target, c.id); err != nil {
			return err
		}
	}
	d := changed{Of: c.Of, From: c.from.String(), To: c.to.String(), Events: []cause{}}
	r := &pastReader{nc: nc, t: &c.target, noun: c.noun, id: c.id, from: c.from, to: c.to}
	if err := differs[c.noun](r, ctx, &d); err != nil {
		return err
	}
	if d.Patch, err = jsondiff.CompareJSON(d.before, d.after, jsondiff.UnmarshalFunc(decodeNumbers)); err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	if d.Patch == nil {
		d.Patch = jsondiff.Patch{}
	}
	if c.JSON {
		b, err := encodeJSON(&d)
		if err == nil {
			_, err = fmt.Fprintln(out, string(b))
		}
		return err
	}
	return d.print(out)
}

// decodeNumbers reads JSON with numbers as they stand.
func decodeNumbers(b []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	return d.Decode(v)
}

func (d *changed) print(out *output) error {
	fmt.Fprintf(out, "%s from %s to %s\n", d.Of, d.From, d.To)
	for _, op := range d.Patch {
		line := fmt.Sprintf("  %-7s %s", op.Type, op.Path)
		if op.Type != jsondiff.OperationRemove {
			value, err := encodeJSON(op.Value)
			if err != nil {
				return err
			}
			line += " " + string(value)
		}
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "%d change(s), caused by %d event(s)\n", len(d.Patch), len(d.Events))
	for _, e := range d.Events {
		fmt.Fprintf(out, "  %8d  %s  %s %s  version %d, command %s, writer %q\n",
			e.Revision, e.RecordedAt, e.Type, e.Key, e.Version, e.CommandID, e.Writer)
	}
	return nil
}
