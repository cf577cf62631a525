package harness

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

// CheckAll waits until the views have caught up, and checks that the journal is
// sound and that KV and SQL show exactly its fold. It returns the journal.
func (c *Client) CheckAll(t testing.TB) []Event {
	t.Helper()
	c.CaughtUp(t)
	all := c.Journal(t)
	wrong := CheckJournal(all)
	wrong = append(wrong, Differences("KV", all, c.KV(t))...)
	wrong = append(wrong, Differences("SQL", all, c.Rows(t))...)
	for i, w := range wrong {
		if i == 20 {
			t.Errorf("… and %d more", len(wrong)-i)
			break
		}
		t.Error(w)
	}
	return all
}

// Differences compares the rows of a view, by "<agent>.<key>", with the fold of
// the journal.
func Differences(view string, all []Event, rows map[string]Row) (wrong []string) {
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

// KV reads the bucket AGENT_STATE as any NATS client does.
func (c *Client) KV(t testing.TB) map[string]Row {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	kv, err := c.JS.KeyValue(ctx, "AGENT_STATE")
	Mustf(t, err, "open the bucket")
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	Mustf(t, err, "read the bucket")
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

// ReadKV decodes a value of the bucket; a member that the wire contract does
// not have is an error.
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

// Rows reads agents.state.
func (c *Client) Rows(t testing.TB) map[string]Row {
	t.Helper()
	conn := c.SQL(t)
	defer conn.Close(context.Background())
	got, err := conn.Query(t.Context(), `
		SELECT agent_id, state_key, state_text, timestamp, version, revision, digest,
			state_value IS NOT DISTINCT FROM state_text::jsonb
		FROM agents.state`)
	Mustf(t, err, "read agents.state")
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
	Mustf(t, err, "read agents.state")
	return rows
}
