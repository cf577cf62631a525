package commands_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/commandstest"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// archived is an archive of some aggregates, up to a revision.
type archived struct {
	history.ArchiveStore
	events  []events.Record
	reaches uint64
	err     error
}

func (x *archived) Reaches(context.Context, int, string) (uint64, error) { return x.reaches, x.err }

func (x *archived) Back(_ context.Context, _ int, name events.AggregateName, below uint64, limit int) (recs []events.Record, err error) {
	for _, rec := range slices.Backward(x.events) {
		if rec.Name == name && rec.Revision < below && len(recs) < limit {
			recs = append(recs, rec)
		}
	}
	return recs, x.err
}

func (x *archived) FirstOf(_ context.Context, _ int, _, command string, names []events.AggregateName) (events.Record, bool, uint64, error) {
	for _, rec := range x.events {
		if rec.CommandID == command && slices.Contains(names, rec.Name) {
			return rec, true, x.reaches, x.err
		}
	}
	return events.Record{}, false, x.reaches, x.err
}

// A server that restarts after a trim no longer knows the message ids of the
// trimmed events. Commands that are young enough for the duplicate window are
// then recognised by the archive, one at a time and in a group.
func TestACommandIsRecognisedAfterATrimAndARestart(t *testing.T) {
	j := journaltest.New(t, 1)
	archive := &archived{}
	h := history.New(j, archive, 0)
	e := newEngine(t, h, commands.Config{Archive: h})
	entry, losers := events.StateEntry("a1", "k"), events.EntryConflicts("a1", "k")
	type sent struct {
		id, body string
		first    answer
	}
	var all []sent
	for i, body := range []string{
		`{"key":"k","value":%d,"strategy":"last_write_wins"}`, `{"key":"k","value":%d,"expected_version":9}`,
		`{"key":"k","value":%d,"timestamp":"2001-01-01T00:00:00Z"}`,
	} {
		for n := range 4 {
			s := sent{id: youngID(), body: fmt.Sprintf(body, 10*i+n)}
			s.first.Receipt, s.first.err = e.do(s.id, "set", s.body)
			all = append(all, s)
		}
	}
	e.accepted("", "set", `{"key":"k","value":100,"strategy":"last_write_wins"}`)
	e.refused("", "set", `{"key":"k","value":101,"expected_version":9}`, domain.Conflict, "state.conflict")

	for _, name := range []events.AggregateName{entry, losers} {
		recs := e.stored(name)
		archive.events = append(archive.events, recs...)
		archive.reaches = max(archive.reaches, recs[len(recs)-1].Revision)
	}
	if err := j.MarkTrimmed(t.Context(), 0, archive.reaches); err != nil {
		t.Fatal(err)
	}
	for _, rec := range []events.Record{archive.events[4], archive.events[len(archive.events)-1]} { // the last of each
		if err := j.Purge(t.Context(), 0, rec.Name, rec.Revision); err != nil {
			t.Fatal(err)
		}
	}

	g := newGate(&commandstest.Windowless{Journal: h})
	restarted := newEngine(t, g, commands.Config{Archive: h})
	other := restarted.send("", "a1", "set", `{"key":"k","value":102,"strategy":"last_write_wins"}`)
	harness.Receive(t, "an append", g.entered)
	again := make([]<-chan answer, len(all))
	for i, s := range all {
		again[i] = restarted.send(s.id, "a1", "set", s.body)
	}
	close(g.open)
	if got := harness.Receive(t, "an answer", other); got.err != nil || got.Replayed || got.Version != 6 {
		t.Errorf("another command: %+v, %v", got.Receipt, got.err)
	}
	for i, s := range all {
		got, want := harness.Receive(t, "an answer", again[i]), s.first
		want.Replayed = want.err == nil
		if got.Receipt != want.Receipt || fmt.Sprint(got.err) != fmt.Sprint(want.err) {
			t.Errorf("%s again: %+v, %v\nfirst %+v, %v", s.body, got.Receipt, got.err, want.Receipt, want.err)
		}
	}
	if got := e.stored(entry); len(got) != 6 || got[5].Version != 6 {
		t.Errorf("a repeated command took effect: %+v", got)
	}
	if got := e.stored(losers); len(got) != 9 {
		t.Errorf("a repeated command lost again: %+v", got)
	}

	archive.err = errors.New("the archive does not answer")
	restarted.refused(all[0].id, "set", all[0].body, domain.Unavailable, "archive.unavailable")
	later := newEngine(t, h, commands.Config{Archive: h, Now: func() time.Time { return time.Now().UTC().Add(10 * time.Minute) }})
	if r, err := later.do(ulidAt(time.Now().Add(9*time.Minute)), "set", `{"key":"k","value":103,"strategy":"last_write_wins"}`); err != nil || r.Version != 7 {
		t.Errorf("long after the trim: %+v, %v", r, err)
	}
}

// Events were trimmed, and the archive does not answer, is empty, is an older copy,
// or belongs to another journal: a command that may have taken effect among them
// is refused and appends nothing, whatever the form of its id and alone or in a
// batch. Commands whose past is known go on, and the others do as soon as the
// archive reaches again.
func TestNothingIsDecidedOnAnIncompletePast(t *testing.T) {
	j := journaltest.New(t, 1)
	full := &archived{}
	h := history.New(j, full, 0)
	e := newEngine(t, &commandstest.Windowless{Journal: h}, commands.Config{Archive: h})
	hour := time.Now().Add(-time.Hour)
	body := func(n int) string { return fmt.Sprintf(`{"key":"k","value":%d,"strategy":"last_write_wins"}`, n) }
	ids := map[string]int{}
	first := map[string]commands.Receipt{}
	for n := range 5 {
		for _, id := range []string{ulidAt(hour.Add(time.Duration(n) * time.Second)), fmt.Sprint("order-", n), youngID()} {
			ids[id], first[id] = len(ids), e.accepted(id, "set", body(len(ids)))
		}
	}
	e.accepted("", "set", body(100))
	full.events = e.stored(events.StateEntry("a1", "k"))
	full.reaches = full.events[len(full.events)-1].Revision
	if _, err := e.Send(t.Context(), commands.Request{Aggregate: "agent", ID: "whole", Verb: "set", CommandID: "first-of-whole", Body: []byte(body(0))}); err != nil {
		t.Fatal(err)
	}
	if err := j.MarkTrimmed(t.Context(), 0, full.reaches); err != nil {
		t.Fatal(err)
	}
	if err := j.Purge(t.Context(), 0, full.events[0].Name, full.reaches); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		archive *archived
		code    string
	}{
		"behind":             {&archived{events: full.events[:4], reaches: full.events[3].Revision}, "archive.incomplete"},
		"empty":              {&archived{}, "archive.incomplete"},
		"of another journal": {&archived{err: history.ErrForeignJournal}, "archive.incomplete"},
		"no answer":          {&archived{err: errors.New("dial tcp 10.1.2.3:5432: user=tidemark")}, "archive.unavailable"},
		"off":                {nil, "archive.unavailable"},
	} {
		cfg, past := commands.Config{}, history.New(j, nil, 0)
		if c.archive != nil {
			past = history.New(j, c.archive, 0)
			cfg.Archive = past
		}
		x := newEngine(t, &commandstest.Windowless{Journal: past}, cfg)
		for id, n := range ids {
			if c.archive != nil && slices.ContainsFunc(c.archive.events, func(r events.Record) bool { return r.CommandID == id }) {
				continue // known in spite of the gap
			}
			_, err := x.do(id, "set", body(n))
			var refused *domain.Error
			if !errors.As(err, &refused) || refused.Kind != domain.Unavailable || refused.Code != c.code || strings.Contains(err.Error(), "10.1.2.3") {
				t.Errorf("archive %s: %s again: %v", name, id, err)
			}
			results, err := x.batch(fmt.Sprintf(`{"atomic":%t,"commands":[%s]}`, n%2 == 0, item("a1", "set", id, body(n))))
			if len(results) == 1 {
				err = results[0].Err
			}
			if !errors.As(err, &refused) || refused.Code != c.code {
				t.Errorf("archive %s: %s again in a batch: %+v, %v", name, id, results, err)
			}
		}
		for _, agent := range []string{"new", "whole"} { // the journal has all events of both
			if got := harness.Receive(t, "an answer", x.send("of-"+strings.ReplaceAll(name, " ", "-"), agent, "set", body(0))); got.err != nil || got.Replayed {
				t.Errorf("archive %s: a command on agent %s: %+v", name, agent, got)
			}
		}
	}
	if got := e.stored(full.events[0].Name); len(got) != len(full.events) {
		t.Errorf("%d events, want %d", len(got), len(full.events))
	}
	e = newEngine(t, &commandstest.Windowless{Journal: h}, commands.Config{Archive: h})
	for id, n := range ids {
		e.replays(id, "set", body(n), first[id])
	}
}
