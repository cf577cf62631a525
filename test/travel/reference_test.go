package travel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// reference is the raw journal, folded in the slow and simple way.
type reference []events.Record

func readAll(t *testing.T, c *harness.Client) (all reference) {
	t.Helper()
	for _, ev := range c.Journal(t) {
		rec, err := events.Decode(ev.Raw)
		harness.Must(t, err)
		all = append(all, events.Record{Event: rec, Name: rec.Home(), Revision: ev.Revision})
	}
	return all
}

// instant is a revision or a time.
type instant struct {
	revision uint64
	at       time.Time
}

func (i instant) includes(rec *events.Record) bool {
	if i.at.IsZero() {
		return rec.Revision <= i.revision
	}
	return !rec.RecordedAt.After(i.at)
}

func (i instant) String() string {
	if i.at.IsZero() {
		return fmt.Sprint(i.revision)
	}
	return i.at.Format(time.RFC3339Nano)
}

func (i instant) body(more harness.M) harness.M {
	body := maps.Clone(more)
	if body == nil {
		body = harness.M{}
	}
	if i.at.IsZero() {
		body["at_revision"] = i.revision
	} else {
		body["at_time"] = i.at
	}
	return body
}

// lasts returns the last event of every aggregate as of an instant.
func (r reference) lasts(i instant) map[events.AggregateName]*events.Record {
	last := map[events.AggregateName]*events.Record{}
	for n := range r {
		if i.includes(&r[n]) {
			last[r[n].Name] = &r[n]
		}
	}
	return last
}

func dead(rec *events.Record) bool {
	return rec == nil || rec.Type == events.StateDeleted || rec.Type == events.ConfigUnset
}

// value returns the value that an event gave its aggregate.
func value(t *testing.T, rec *events.Record) json.RawMessage {
	t.Helper()
	if len(rec.State) > 0 {
		return json.RawMessage(rec.State)
	}
	d, err := events.DecodeStateWrite(rec.Data)
	harness.Must(t, err)
	return json.RawMessage(d.Value)
}

// names returns the aggregates in the journal: "agent.a1", "task.t1".
func (r reference) names() []string {
	names := map[string]bool{}
	for i := range r {
		names[r[i].Aggregate+"."+r[i].ID] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// check queries everything as of an instant.
func (r reference) check(t *testing.T, c *harness.Client, i instant) {
	lasts := r.lasts(i)
	for _, name := range r.names() {
		noun, id, _ := bytes.Cut([]byte(name), []byte("."))
		switch string(noun) {
		case "agent", "config":
			want := map[string]*events.Record{}
			for _, rec := range lasts {
				if rec.Aggregate == string(noun) && rec.ID == string(id) && rec.Key != "" && !dead(rec) && rec.Home() == rec.Name &&
					rec.Type != events.StateSuperseded && rec.Type != events.StateRejected {
					want[rec.Key] = rec
				}
			}
			checkEntries(t, c, name, i, want)
			if string(noun) == "agent" {
				checkDocument(t, c, "agent."+string(id)+".lifecycle", i, lasts[events.Lifecycle(string(id))])
			}
		case "task":
			checkDocument(t, c, name+".get", i, lasts[events.Task(string(id))])
		case "session":
			checkDocument(t, c, name+".get", i, lasts[events.Session(string(id))])
		}
	}
}

type row struct {
	Key      string          `json:"key"`
	Value    json.RawMessage `json:"value"`
	Revision uint64          `json:"revision"`
	Digest   string          `json:"digest"`
	Cursor   string          `json:"cursor"`
	Source   string          `json:"source"`
}

func checkEntries(t *testing.T, c *harness.Client, name string, i instant, want map[string]*events.Record) {
	got := map[string]row{}
	body := i.body(harness.M{"limit": 3})
	for {
		answer, err := c.Query(context.Background(), "queries."+name+".entries", body)
		var page struct {
			Entries []row  `json:"entries"`
			Cursor  string `json:"cursor"`
		}
		if err == nil {
			err = json.Unmarshal(answer, &page)
		}
		if err != nil {
			t.Errorf("%s as of %s: %v", name, i, err)
			return
		}
		for _, e := range page.Entries {
			got[e.Key] = e
		}
		if body["cursor"] = page.Cursor; page.Cursor == "" {
			break
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s as of %s: %d entries, want %d", name, i, len(got), len(want))
	}
	for key, rec := range want {
		if e := got[key]; e.Digest != rec.Digest || !bytes.Equal(e.Value, value(t, rec)) {
			t.Errorf("%s as of %s: %s is %+v, want %s", name, i, key, e, rec.Data)
		}
	}
}

// checkDocument compares the digest of an answer, which covers the event and
// all before it, with that of the last event.
func checkDocument(t *testing.T, c *harness.Client, query string, i instant, want *events.Record) {
	answer, err := c.Query(context.Background(), "queries."+query, i.body(nil))
	var got row
	if err == nil {
		err = json.Unmarshal(answer, &got)
	}
	var r *harness.Refusal
	switch {
	case want == nil && errors.As(err, &r) && r.Status == 404:
	case want == nil && err == nil && got.Revision == 0: // a lifecycle
	case want == nil || err != nil || got.Digest != want.Digest || got.Revision != want.Revision || got.Source != "journal":
		t.Errorf("%s as of %s: %s %v, want %+v", query, i, answer, err, want)
	}
}
