package projections_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// rows are the rows that changes result in.
type rows struct {
	entries map[string]readmodel.EntryChange
	docs    map[string]readmodel.DocChange
	losses  []any
	poison  []uint64
}

func (r *rows) apply(t *rapid.T, c projections.Changes) {
	var names []string
	for _, e := range c.Entries {
		name := e.Agent + " " + e.Key
		names = append(names, name)
		r.entries[name] = e
	}
	if !slices.IsSorted(names) || len(slices.Compact(names)) != len(c.Entries) {
		t.Fatalf("a batch's entries are not each once and in order: %q", names)
	}
	names = nil
	for _, d := range c.Docs {
		name := d.Kind + " " + d.ID + " " + d.Key
		names = append(names, name)
		r.docs[name] = d
	}
	if !slices.IsSorted(names) || len(slices.Compact(names)) != len(c.Docs) {
		t.Fatalf("a batch's documents are not each once and in order: %q", names)
	}
	for _, l := range c.Losses {
		r.losses = append(r.losses, l)
	}
	for _, p := range c.Poison {
		if p.Bad == nil {
			t.Fatalf("poison at %d without a reason", p.Revision)
		}
		r.poison = append(r.poison, p.Revision)
	}
}

func newRows() *rows {
	return &rows{entries: map[string]readmodel.EntryChange{}, docs: map[string]readmodel.DocChange{}}
}

func TestAnySplitOfTheSameEventsEndsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 30).Draw(t, "events")
		messages := make([]history.Message, n)
		for i := range messages {
			messages[i] = drawMessage(t, uint64(i+1))
		}
		whole, split := newRows(), newRows()
		whole.apply(t, projections.Fold(slices.Clone(messages)))
		for rest := slices.Clone(messages); len(rest) > 0; {
			at := rapid.IntRange(1, len(rest)).Draw(t, "batch")
			split.apply(t, projections.Fold(rest[:at]))
			rest = rest[at:]
		}
		if !reflect.DeepEqual(whole, split) {
			t.Fatalf("in one batch %+v\nsplit %+v", whole, split)
		}
	})
}

var when = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

func drawMessage(t *rapid.T, revision uint64) history.Message {
	agent := rapid.SampledFrom([]string{"a", "ab", "b"}).Draw(t, "agent")
	key := rapid.SampledFrom([]string{"k", "k.k", "l"}).Draw(t, "key")
	m := history.Message{Record: events.Record{Name: events.StateEntry(agent, key), Revision: revision}}
	m.Event = events.Event{
		Type: rapid.SampledFrom([]string{
			events.StateSet, events.StateSet, events.StateDeleted, events.StateSuperseded, events.StateRejected,
			events.ConfigSet, events.ConfigUnset, events.Hydrated, events.TaskCreated, "agent.unknown", "",
		}).Draw(t, "type"),
		Aggregate: "agent", ID: agent, Key: key, Version: revision, Timestamp: when, RecordedAt: when, Digest: fmt.Sprint("d", revision),
		CommandID: fmt.Sprint("c", revision), Schema: events.Schema,
	}
	switch m.Type {
	case events.StateSuperseded, events.StateRejected:
		m.Name = events.EntryConflicts(agent, key)
		m.Data = (&events.StateLoss{Verb: "set", Value: fmt.Append(nil, revision), CurrentVersion: 1}).Encode()
	case events.Hydrated, events.TaskCreated:
		m.Name, m.Key = events.AggregateName("x."+agent+"."+m.Type), ""
		m.Data, m.State = []byte(`{}`), fmt.Appendf(nil, `{"n":%d}`, revision)
	default:
		if m.Type == events.ConfigSet || m.Type == events.ConfigUnset {
			m.Name = events.Config(agent, key)
		}
		w := events.StateWrite{Strategy: "timestamp", Request: "r"}
		if m.Type == events.StateSet || m.Type == events.ConfigSet {
			w.Value = fmt.Append(nil, revision)
		}
		m.Data = w.Encode()
	}
	switch rapid.IntRange(0, 12).Draw(t, "trouble") {
	case 0:
		m.Bad = errors.New("torn")
	case 1:
		m.Data = []byte(`{`)
	case 2:
		m.Data, m.State = []byte(`{}`), nil // a set without a value, a document without a state
	}
	return m
}

func TestFoldNamesWhatItCannotFold(t *testing.T) {
	set := events.Event{Type: events.StateSet, Aggregate: "agent", ID: "a", Key: "k", Version: 1}
	good := (&events.StateWrite{Value: []byte(`1`)}).Encode()
	batch := []history.Message{
		{Record: events.Record{Event: set, Revision: 1, Name: "agent.a.state.k"}, Bad: errors.New("torn")},
		{Record: events.Record{Event: set, Revision: 2, Name: "agent.a.state.k"}},
		{Record: events.Record{Event: set, Revision: 3, Name: "agent.a.state.k"}},
		{Record: events.Record{Event: set, Revision: 4, Name: "agent.a.state.l"}},
	}
	batch[1].Data, batch[2].Data, batch[3].Data = []byte(`{"strategy":"timestamp"}`), good, []byte(`null`)
	batch[3].Key = "l"
	c := projections.Fold(batch)
	if len(c.Entries) != 1 || c.Entries[0].Revision != 3 || string(c.Entries[0].Value) != "1" {
		t.Errorf("entries: %+v", c.Entries)
	}
	if len(c.Poison) != 3 || c.Poison[0].Revision != 1 || c.Poison[1].Revision != 2 || c.Poison[2].Revision != 4 {
		t.Errorf("poison: %+v", c.Poison)
	}
}
