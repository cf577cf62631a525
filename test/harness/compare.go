package harness

// This file compares the views with the journal, without the engine's help.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
)

// Row is a state entry as a view shows it.
type Row struct {
	Value     []byte
	Timestamp time.Time
	Version   uint64
	Revision  uint64
	Digest    string
}

// CheckAll waits until the views are level and then asks that the journal is
// sound and that KV and SQL show exactly its fold. It returns the journal.
func (c *Client) CheckAll(t testing.TB) []Event {
	t.Helper()
	c.Level(t, 30*time.Second)
	all := c.Journal(t)
	wrong := CheckJournal(all)
	wrong = append(wrong, Differ("KV", all, c.KV(t))...)
	wrong = append(wrong, Differ("SQL", all, c.Rows(t))...)
	for i, w := range wrong {
		if i == 20 {
			t.Errorf("… and %d more", len(wrong)-i)
			break
		}
		t.Error(w)
	}
	return all
}

// Differ names every difference between a view's rows, by "<agent>.<key>", and
// the fold of the journal.
func Differ(view string, all []Event, rows map[string]Row) (wrong []string) {
	last := Last(all)
	for name, e := range last {
		r, there := rows[name]
		switch {
		case e.Deleted() && there:
			wrong = append(wrong, fmt.Sprintf("%s shows %s, which was deleted at revision %d", view, name, e.Revision))
		case e.Deleted():
		case !there:
			wrong = append(wrong, fmt.Sprintf("%s lacks %s, set at revision %d", view, name, e.Revision))
		case r.Version != e.Version || r.Revision != e.Revision || r.Digest != e.Digest ||
			!bytes.Equal(r.Value, e.Data.Value) || !r.Timestamp.Equal(e.Timestamp.Truncate(r.precision(view))):
			wrong = append(wrong, fmt.Sprintf("%s has %s as %.200s, the journal as version %d revision %d digest %s value %.80s",
				view, name, r, e.Version, e.Revision, e.Digest, e.Data.Value))
		}
	}
	for name := range rows {
		if last[name] == nil {
			wrong = append(wrong, fmt.Sprintf("%s shows %s, of which the journal has nothing", view, name))
		}
	}
	return wrong
}

func (r Row) precision(view string) time.Duration {
	if view == "SQL" {
		return time.Microsecond // timestamptz
	}
	return time.Nanosecond
}

func (r Row) String() string {
	return fmt.Sprintf("version %d revision %d digest %s value %.80s", r.Version, r.Revision, r.Digest, r.Value)
}

// KV is all of the bucket AGENT_STATE, read as any NATS client reads a bucket.
func (c *Client) KV(t testing.TB) map[string]Row {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	kv, err := c.JS.KeyValue(ctx, "AGENT_STATE")
	must(t, err, "open the bucket")
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	must(t, err, "read the bucket")
	defer func() { _ = w.Stop() }()
	rows := map[string]Row{}
	for v := range w.Updates() {
		if v == nil {
			return rows
		}
		rows[v.Key()] = ReadKV(t, v.Value())
	}
	t.Fatal("the bucket could not be read to its end")
	return nil
}

// ReadKV reads a bucket's value in the contract's form; other members than
// those are an error.
func ReadKV(t testing.TB, body []byte) Row {
	t.Helper()
	var v struct {
		Value     json.RawMessage `json:"value"`
		Timestamp time.Time       `json:"timestamp"`
		Agent     string          `json:"agent_id"`
		Version   uint64          `json:"version"`
		Revision  uint64          `json:"revision"`
		Digest    string          `json:"digest"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil || v.Agent == "" {
		t.Errorf("the bucket holds %.200q: %v", body, err)
	}
	return Row{Value: v.Value, Timestamp: v.Timestamp, Version: v.Version, Revision: v.Revision, Digest: v.Digest}
}

// Rows is all of agents.state.
func (c *Client) Rows(t testing.TB) map[string]Row {
	t.Helper()
	conn := c.SQL(t)
	defer conn.Close(context.Background())
	got, err := conn.Query(t.Context(), `
		SELECT agent_id, state_key, state_text, timestamp, version, revision, digest,
			state_value IS NOT DISTINCT FROM state_text::jsonb
		FROM agents.state`)
	must(t, err, "read agents.state")
	rows := map[string]Row{}
	var agent, key string
	var same bool
	var r Row
	_, err = pgx.ForEachRow(got, []any{&agent, &key, &r.Value, &r.Timestamp, &r.Version, &r.Revision, &r.Digest, &same}, func() error {
		r.Value = bytes.Clone(r.Value)
		rows[agent+"."+key] = r
		if !same {
			return fmt.Errorf("%s.%s: state_value is not state_text", agent, key)
		}
		return nil
	})
	must(t, err, "read agents.state")
	return rows
}
