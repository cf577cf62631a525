package client

import (
	"context"
	"encoding/json"
)

// Batch is a list of commands that are sent together.
type Batch struct {
	c        *Client
	commands []batchCommand
	require  []map[string]any
}

type batchCommand struct {
	Subject string         `json:"subject"`
	ID      string         `json:"id"`
	Body    map[string]any `json:"body"`
}

// NewBatch begins a batch of up to 500 commands.
func (c *Client) NewBatch() *Batch { return &Batch{c: c} }

// Set adds a write.
func (b *Batch) Set(agent, key string, value any, options ...CommandOption) *Batch {
	return b.write("agent."+agent+".set", with(options, Field("key", key), Field("value", value)))
}

// Delete adds a deletion.
func (b *Batch) Delete(agent, key string, options ...CommandOption) *Batch {
	return b.write("agent."+agent+".delete", with(options, Field("key", key)))
}

func (b *Batch) write(subject string, options []CommandOption) *Batch {
	if b.c.writer != "" {
		options = append([]CommandOption{Writer(b.c.writer)}, options...) // one of the options counts more
	}
	return b.Command(subject, options...)
}

// Command adds any command: "task.t1.create" with its fields.
func (b *Batch) Command(subject string, options ...CommandOption) *Batch {
	o := b.c.command(options)
	b.commands = append(b.commands, batchCommand{trimRoot(subject, "commands."), o.id, o.body})
	return b
}

// RequireEntry lets the batch take effect only if the entry has this version, 0 = it does
// not exist; the entry need not be written. A requirement that fails is an ErrRequireFailed.
func (b *Batch) RequireEntry(agent, key string, version uint64) *Batch {
	b.require = append(b.require, map[string]any{"subject": "agent." + agent, "key": key, "version": version})
	return b
}

// RequireVersion is the same for a whole aggregate: "task.t1", "session.s1", "claim.c1".
func (b *Batch) RequireVersion(aggregate string, version uint64) *Batch {
	b.require = append(b.require, map[string]any{"subject": aggregate, "version": version})
	return b
}

// RequireOwner lets the batch take effect only while owner holds the claim.
func (b *Batch) RequireOwner(claim, owner string) *Batch {
	b.require = append(b.require, map[string]any{"subject": "claim." + claim, "owner": owner})
	return b
}

// Do executes the batch as a whole or not at all. It is sent again, under the same ids,
// while the outcome is unknown. The error names the first command that fails by
// "index" in its Details.
func (b *Batch) Do(ctx context.Context) ([]Receipt, error) {
	results, err := b.send(ctx, true)
	if err != nil {
		return nil, err
	}
	receipts := make([]Receipt, len(results))
	for i, r := range results {
		if r.Err != nil {
			return nil, r.Err
		}
		receipts[i] = r.Receipt
	}
	return receipts, nil
}

// Result is the outcome of one command of a batch.
type Result struct {
	Receipt Receipt
	Err     error // nil, or an *Error
}

// Each executes each command by itself and returns the results in the order of the
// commands.
func (b *Batch) Each(ctx context.Context) ([]Result, error) { return b.send(ctx, false) }

func (b *Batch) send(ctx context.Context, atomic bool) ([]Result, error) {
	body := map[string]any{"atomic": atomic, "commands": b.commands}
	if len(b.require) > 0 {
		body["require"] = b.require
	}
	var answer struct {
		Results []struct {
			Receipt *Receipt `json:"receipt"`
			Error   *Error   `json:"error"`
		} `json:"results"`
	}
	if err := b.c.send(ctx, "commands.batch", "", body, 0, &answer); err != nil {
		return nil, err
	}
	results := make([]Result, len(answer.Results))
	for i, r := range answer.Results {
		if r.Error != nil {
			results[i].Err = r.Error
		}
		if r.Receipt != nil {
			results[i].Receipt = *r.Receipt
			b.c.saw(*r.Receipt)
		}
	}
	return results, nil
}

// ViewRow reads one row of a declared view; of a grouped one, key is the key of the group.
func ViewRow[R any](ctx context.Context, c *Client, view, key string, options ...ReadOption) (row R, err error) {
	var answer struct {
		Row json.RawMessage `json:"row"`
	}
	if err := c.query(ctx, "view."+view+".get", "", reading(options, map[string]any{"key": key}), &answer); err != nil {
		return row, err
	}
	return row, json.Unmarshal(answer.Row, &row)
}
