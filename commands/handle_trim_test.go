package commands_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
