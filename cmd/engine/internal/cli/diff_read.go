package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/events"
)

// historyReader queries the states of an aggregate at two instants, and the
// events between them.
type historyReader struct {
	nc       *nats.Conn
	t        *deployment.Target
	noun, id string
	from, to instant
}

// headOf is the head of an aggregate's partition. It asks for the events after the last
// possible one, which who may read the aggregate may ask for.
func headOf(ctx context.Context, nc *nats.Conn, t *deployment.Target, noun, id string) (instant, error) {
	name := events.Pattern(noun + "." + id)
	if !name.Selects() { // the names of an agent and of its configuration have more parts
		name += ".>"
	}
	page, err := askEvents(ctx, t.Asker(nc), t, map[string]any{"subject": name, "from": uint64(math.MaxUint64), "wait_ms": 0})
	if err != nil {
		return instant{}, err
	}
	return parseInstant(strconv.FormatUint(page.Head, 10))
}

// historyRow is a row of a page of entries, or of a history.
type historyRow struct {
	Key        string          `json:"key"`
	Value      json.RawMessage `json:"value"`
	State      json.RawMessage `json:"state"` // of a document
	Version    uint64          `json:"version"`
	Revision   uint64          `json:"revision"`
	Kind       string          `json:"kind"` // of an entry's version
	Type       string          `json:"type"` // of a document's version
	Writer     string          `json:"writer"`
	Actor      string          `json:"actor"`
	CommandID  string          `json:"command_id"`
	RecordedAt time.Time       `json:"recorded_at"`
}

// pages yields the rows of a paged query until yield returns false.
func (r *historyReader) pages(ctx context.Context, query, list string, body map[string]any, yield func(*historyRow) bool) error {
	body["limit"] = 1000
	for {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		msg := nats.NewMsg(r.t.Subject("queries." + r.noun + "." + r.id + "." + query))
		msg.Data = b
		answer, err := deployment.Ask(ctx, r.t.Asker(r.nc), r.t.Timeout, msg)
		if err != nil {
			return err
		}
		var page map[string]json.RawMessage
		var rows []historyRow
		cursor := ""
		if err = json.Unmarshal(answer, &page); err == nil {
			err = json.Unmarshal(page[list], &rows)
		}
		if err == nil && page["cursor"] != nil {
			err = json.Unmarshal(page["cursor"], &cursor)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", msg.Subject, err)
		}
		for i := range rows {
			if !yield(&rows[i]) {
				return nil
			}
		}
		if cursor == "" {
			return nil
		}
		body["cursor"] = cursor
	}
}

// entries reads the state of an agent, or of its configuration, key by key.
func (r *historyReader) entries(ctx context.Context, d *changed) error {
	before, err := r.at(ctx, r.from)
	if err != nil {
		return err
	}
	after, err := r.at(ctx, r.to)
	if err != nil {
		return err
	}
	for key := range before {
		if a, there := after[key]; !there || a.Version != before[key].Version {
			err = errors.Join(err, r.causes(ctx, d, key))
		}
	}
	for key := range after {
		if _, there := before[key]; !there {
			err = errors.Join(err, r.causes(ctx, d, key))
		}
	}
	if err != nil {
		return err
	}
	sort.Slice(d.Events, func(i, j int) bool { return d.Events[i].Revision < d.Events[j].Revision })
	if d.before, err = stateOf(before); err == nil {
		d.after, err = stateOf(after)
	}
	return err
}

// at are the rows at an instant, by key.
func (r *historyReader) at(ctx context.Context, p instant) (map[string]historyRow, error) {
	rows := map[string]historyRow{}
	err := r.pages(ctx, "entries", "entries", map[string]any{p.name: p.value}, func(row *historyRow) bool {
		rows[row.Key] = *row
		return true
	})
	return rows, err
}

func stateOf(rows map[string]historyRow) (json.RawMessage, error) {
	state := make(map[string]json.RawMessage, len(rows))
	for key := range rows {
		state[key] = rows[key].Value
	}
	return json.Marshal(state)
}

// causes adds a key's events between the two instants.
func (r *historyReader) causes(ctx context.Context, d *changed, key string) error {
	_, _, err := r.back(ctx, d, map[string]any{"key": key}, func(row *historyRow) {
		row.Key, row.Type = key, row.typ()
	})
	return err
}

// typ is the event type of a row of a history.
func (row *historyRow) typ() string {
	switch row.Kind {
	case "":
		return row.Type
	case "deleted":
		return events.StateDeleted
	}
	return events.StateSet
}

// document reads the state of a task, session, reminder, claim or view; before its first event it is {}.
func (r *historyReader) document(ctx context.Context, d *changed) error {
	after, before, err := r.back(ctx, d, map[string]any{}, func(*historyRow) {})
	if err != nil {
		return err
	}
	d.before, d.after = json.RawMessage(`{}`), json.RawMessage(`{}`)
	if before != nil {
		d.before = before.State
	}
	if after != nil {
		d.after = after.State
	}
	sort.Slice(d.Events, func(i, j int) bool { return d.Events[i].Revision < d.Events[j].Revision })
	return nil
}

// back reads a history backwards, adds the events between the two instants, and
// returns the versions at the later and at the earlier one.
func (r *historyReader) back(ctx context.Context, d *changed, body map[string]any, name func(*historyRow)) (after, before *historyRow, err error) {
	if r.to.name == "at_revision" && r.to.revision+1 > 0 {
		body["cursor"] = strconv.FormatUint(r.to.revision+1, 10)
	}
	err = r.pages(ctx, "history", "versions", body, func(row *historyRow) bool {
		if after == nil && !r.to.includes(row.Revision, row.RecordedAt) {
			return true
		}
		if after == nil {
			after = row
		}
		if r.from.includes(row.Revision, row.RecordedAt) {
			before = row
			return false
		}
		name(row)
		d.Events = append(d.Events, cause{
			Revision: row.Revision, Type: row.Type, Key: row.Key, Version: row.Version,
			CommandID: row.CommandID, Writer: row.Writer, Actor: row.Actor, RecordedAt: row.RecordedAt.Format(time.RFC3339Nano),
		})
		return true
	})
	return after, before, err
}
