package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

// Agent is the state of one agent.
type Agent struct {
	c  *Client
	id string
}

// Agent returns the agent with an id. Nothing is sent.
func (c *Client) Agent(id string) *Agent { return &Agent{c: c, id: id} }

// ID is the agent's id.
func (a *Agent) ID() string { return a.id }

// Entry is one value of an agent, or one version of it.
type Entry[T any] struct {
	Key       string
	Value     T
	Version   uint64 // changes of the entry, from 1; expected by [ExpectedVersion]
	Revision  uint64
	Timestamp time.Time
	Deleted   bool   // of a version: the entry did not exist after it
	Source    string // who answered: memory, kv, sql, journal

	Kind       string    // of a version: set, deleted, superseded, rejected
	Writer     string    // of a version
	Actor      string    // of a version: the principal
	CommandID  string    // of a version
	RecordedAt time.Time // of a version
}

// wireEntry is an entry on the wire. Its value stays as it was sent.
type wireEntry struct {
	Key        string          `json:"key"`
	Value      json.RawMessage `json:"value"`
	Version    uint64          `json:"version"`
	Revision   uint64          `json:"revision"`
	Timestamp  time.Time       `json:"timestamp"`
	Deleted    bool            `json:"deleted"`
	Source     string          `json:"source"`
	Kind       string          `json:"kind"`
	Writer     string          `json:"writer"`
	Actor      string          `json:"actor"`
	CommandID  string          `json:"command_id"`
	RecordedAt time.Time       `json:"recorded_at"`
}

func decode[T any](w wireEntry) (Entry[T], error) {
	e := Entry[T]{
		Key: w.Key, Version: w.Version, Revision: w.Revision, Timestamp: w.Timestamp, Deleted: w.Deleted, Source: w.Source,
		Kind: w.Kind, Writer: w.Writer, Actor: w.Actor, CommandID: w.CommandID, RecordedAt: w.RecordedAt,
	}
	if len(w.Value) == 0 {
		return e, nil
	}
	d := json.NewDecoder(bytes.NewReader(w.Value))
	d.UseNumber() // numbers in an any keep their digits, as json.Number
	if err := d.Decode(&e.Value); err != nil {
		return e, fmt.Errorf("the value of %s does not fit the type %T: %w", w.Key, e.Value, err)
	}
	return e, nil
}

// Get reads the value under a key. It is at least as new as all that the client has
// written and read of this agent. Without such an entry the error is an ErrNotFound.
func Get[T any](ctx context.Context, a *Agent, key string, options ...ReadOption) (Entry[T], error) {
	var w wireEntry
	if err := a.query(ctx, "get", reading(options, map[string]any{"key": key}), &w); err != nil {
		return Entry[T]{}, err
	}
	w.Key = key
	return decode[T](w)
}

// Entries reads all entries whose keys begin with prefix, in the order of their keys.
func Entries[T any](ctx context.Context, a *Agent, prefix string, options ...ReadOption) iter.Seq2[Entry[T], error] {
	body := reading(options, map[string]any{})
	if prefix != "" {
		body["prefix"] = prefix
	}
	return convert(pages[wireEntry]("entries", body, func(body map[string]any, page *map[string]json.RawMessage) error {
		return a.query(ctx, "entries", body, page)
	}), decode[T])
}

// History reads the versions of an entry, the newest first, also those of an entry that is
// deleted. Where("losers", true) adds the writes that lost.
func History[T any](ctx context.Context, a *Agent, key string, options ...ReadOption) iter.Seq2[Entry[T], error] {
	body := reading(options, map[string]any{"key": key})
	return convert(pages[wireEntry]("versions", body, func(body map[string]any, page *map[string]json.RawMessage) error {
		return a.c.Query(ctx, a.subject("history"), body, page)
	}), decode[T])
}

// Set writes a value, encoded as JSON.
func (a *Agent) Set(ctx context.Context, key string, value any, options ...CommandOption) (Receipt, error) {
	return a.write(ctx, "set", key, "value", value, options)
}

// Delete deletes an entry.
func (a *Agent) Delete(ctx context.Context, key string, options ...CommandOption) (Receipt, error) {
	return a.write(ctx, "delete", key, "", nil, options)
}

// Merge applies a JSON merge patch (RFC 7396) to an object; a missing entry is {}. The
// receipt has the new value.
func (a *Agent) Merge(ctx context.Context, key string, patch any, options ...CommandOption) (Receipt, error) {
	return a.write(ctx, "merge", key, "value", patch, options)
}

// Add adds a number exactly; a missing entry is 0. delta is a Go number or a json.Number.
// The receipt has the sum.
func (a *Agent) Add(ctx context.Context, key string, delta any, options ...CommandOption) (Receipt, error) {
	return a.write(ctx, "add", key, "delta", delta, options)
}

// Append appends the elements of a slice to an array; a missing entry is []. The receipt
// has the new value.
func (a *Agent) Append(ctx context.Context, key string, items any, options ...CommandOption) (Receipt, error) {
	return a.write(ctx, "append", key, "items", items, options)
}

// Update reads an entry, lets change make the new value from the old one (the zero value
// if there is none), and writes it if it has not changed meanwhile; otherwise it begins
// again, until the end of ctx. change may run several times. An error of change
// ends Update.
func Update[T any](ctx context.Context, a *Agent, key string, change func(T) (T, error), options ...CommandOption) (Receipt, error) {
	var reread []ReadOption
	for {
		entry, err := Get[T](ctx, a, key, reread...)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Receipt{}, err
		}
		value, err := change(entry.Value)
		if err != nil {
			return Receipt{}, err
		}
		receipt, err := a.Set(ctx, key, value, with(options, ExpectedVersion(entry.Version), CommandID(NewID()))...)
		if !errors.Is(err, ErrStateConflict) || ctx.Err() != nil {
			return receipt, err
		}
		reread = []ReadOption{Consistency("strong")} // as new as the write that won
	}
}

func (a *Agent) write(ctx context.Context, verb, key, field string, value any, options []CommandOption) (Receipt, error) {
	o := a.c.command(options)
	if _, ok := o.body["writer"]; !ok && a.c.writer != "" {
		o.body["writer"] = a.c.writer
	}
	o.body["key"] = key
	if field != "" {
		o.body[field] = value
	}
	return a.c.Command(ctx, a.subject(verb), o.body, CommandID(o.id))
}

// Point is a point in the past of an agent.
type Point struct {
	field string
	value any
}

// Version is the state of one entry at a version.
func Version(version uint64) Point { return Point{"version", version} }

// Revision is the state after a revision of the agent's journal partition.
func Revision(revision uint64) Point { return Point{"revision", revision} }

// Time is the state as it was at a time.
func Time(t time.Time) Point { return Point{"time", t.UTC().Format(time.RFC3339Nano)} }

// Revert brings every entry of the agent back to a point in the past, as new events. The
// receipt has the number of entries that changed. See RevertEntry for a single one.
func (a *Agent) Revert(ctx context.Context, to Point, options ...CommandOption) (Receipt, error) {
	return a.do(ctx, "revert", with(options, Field("to_"+to.field, to.value)))
}

// RevertEntry brings one entry back to a point in the past.
func (a *Agent) RevertEntry(ctx context.Context, key string, to Point, options ...CommandOption) (Receipt, error) {
	return a.do(ctx, "revert", with(options, Field("key", key), Field("to_"+to.field, to.value)))
}

// Fork makes the agent id from this agent's entries, those of a point in the past with
// Field("at_revision", …) or Field("at_time", …).
func (a *Agent) Fork(ctx context.Context, id string, options ...CommandOption) (*Agent, error) {
	fork := a.c.Agent(id)
	_, err := fork.do(ctx, "fork", with(options, Field("from", a.id)))
	return fork, err
}

// Heartbeat says that the agent lives.
func (a *Agent) Heartbeat(ctx context.Context) error {
	_, err := a.do(ctx, "heartbeat", nil)
	return err
}

// Lifecycle sends one of the verbs hydrate, flush, expire, retire.
func (a *Agent) Lifecycle(ctx context.Context, verb string, options ...CommandOption) (Receipt, error) {
	return a.do(ctx, verb, options)
}

// Erase makes every value of the agent unreadable, in the past too (needs --encryption on).
func (a *Agent) Erase(ctx context.Context, reason string, options ...CommandOption) (Receipt, error) {
	return a.do(ctx, "erase", with(options, Reason(reason)))
}

func (a *Agent) do(ctx context.Context, verb string, options []CommandOption) (Receipt, error) {
	return a.c.do(ctx, a.subject(verb), options)
}

func (c *Client) do(ctx context.Context, subject string, options []CommandOption) (Receipt, error) {
	o := c.command(options)
	return c.Command(ctx, subject, o.body, CommandID(o.id))
}

func (a *Agent) query(ctx context.Context, query string, body map[string]any, answer any) error {
	return a.c.query(ctx, a.subject(query), a.aggregate(), body, answer)
}

func (a *Agent) aggregate() string { return "agent." + a.id }

func (a *Agent) subject(verb string) string { return a.aggregate() + "." + verb }

func with(options []CommandOption, more ...CommandOption) []CommandOption {
	return slices.Concat(options, more)
}
