package journal_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/history/historytest"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/test/journaltest"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestJournal(t *testing.T) {
	for name, partitions := range map[string]int{"one partition": 1, "four partitions": 4} {
		t.Run(name, func(t *testing.T) {
			historytest.Journal(t, func(t *testing.T) history.Journal { return history.New(journaltest.New(t, partitions), nil, 0) })
		})
	}
}

// TestCommitter runs the journal suite on a group committer.
func TestCommitter(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		t.Run(fmt.Sprint(partitions, " partitions"), func(t *testing.T) {
			historytest.Journal(t, func(t *testing.T) history.Journal {
				return groupcommit.New(history.New(journaltest.New(t, partitions), nil, 0), partitions)
			})
		})
	}
}

func TestJournalWithAPrefix(t *testing.T) {
	historytest.Journal(t, func(t *testing.T) history.Journal {
		j, err := journal.Open(t.Context(), support.Engine(t, support.NATS(t)),
			journal.Config{Subjects: natsio.NewSubjects("acme.prod."), Partitions: 2})
		if err != nil {
			t.Fatal(err)
		}
		return history.New(j, nil, 0)
	})
}

// TestJournalStreamConfig checks subjects, limits and permissions against the wire
// contract.
func TestJournalStreamConfig(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		s := support.NATS(t)
		nc := support.Engine(t, s)
		j, err := journal.Open(t.Context(), nc, journal.Config{Partitions: partitions})
		if err != nil {
			t.Fatal(err)
		}
		js := support.JetStream(t, nc)
		for p := range partitions {
			stream, err := js.Stream(t.Context(), natsio.StreamName(p, partitions))
			if err != nil {
				t.Fatal(err)
			}
			c := stream.CachedInfo().Config
			if c.Storage != jetstream.FileStorage || c.Retention != jetstream.LimitsPolicy || c.MaxAge != 0 || c.MaxBytes > 0 ||
				c.MaxMsgs > 0 || c.MaxMsgsPerSubject > 0 || !c.AllowDirect || !c.AllowAtomicPublish || !c.DenyDelete || c.DenyPurge ||
				c.Duplicates != history.DuplicateWindow {
				t.Errorf("%s is %+v", c.Name, c)
			}
		}
		if j.Partitions() != partitions || j.Replicas() != 1 {
			t.Errorf("%d partitions, %d replicas", j.Partitions(), j.Replicas())
		}
		ev := events.StateEntry("a1", "x.y")
		at, err := j.Append(t.Context(), history.Writes(ev, 0, "id", []events.Event{{
			Type: "agent.state_set", Aggregate: "agent", ID: "a1", Key: "x.y", Version: 1, Digest: "d", Schema: 1, Data: []byte(`{"value":1}`)}}))
		if err != nil {
			t.Fatal(err)
		}
		stream, err := js.Stream(t.Context(), natsio.StreamName(j.Partition("a1"), partitions))
		if err != nil {
			t.Fatal(err)
		}
		if msg, err := stream.GetMsg(t.Context(), at.Revision); err != nil || msg.Subject != "events.agent.a1.state.x.y" {
			t.Errorf("stored under %+v, %v", msg, err)
		}
	}
}

func TestJournalKeepsItsPartitions(t *testing.T) {
	dir := t.TempDir()
	open := func(partitions int) (*journal.Journal, func(), error) {
		s := support.NATSIn(t, dir)
		nc := support.Engine(t, s)
		j, err := journal.Open(t.Context(), nc, journal.Config{Partitions: partitions})
		return j, func() { nc.Close(); s.Stop() }, err
	}
	made, stop, err := open(4)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	for _, partitions := range []int{4, 0} {
		again, stop, err := open(partitions)
		if err != nil || again.Partitions() != 4 || again.ID() != made.ID() || again.Incarnation() != made.Incarnation() {
			t.Errorf("with %d partitions: %+v, %v", partitions, again, err)
		}
		stop()
	}
	for _, partitions := range []int{1, 3} {
		_, stop, err := open(partitions)
		if err == nil || !strings.Contains(err.Error(), "has 4 partitions") {
			t.Errorf("with %d partitions: %v", partitions, err)
		}
		stop()
	}
}

func TestOpenRejectsAForeignStream(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	if _, err := support.JetStream(t, nc).CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	_, err := journal.Open(t.Context(), nc, journal.Config{})
	if err == nil || !strings.Contains(err.Error(), "not a Tidemark journal") {
		t.Error(err)
	}
}

func TestOpenExistingCreatesNoJournal(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	if _, err := journal.OpenExisting(t.Context(), nc, natsio.NewSubjects("")); err == nil || !strings.Contains(err.Error(), "no journal") {
		t.Error(err)
	}
	made, err := journal.Open(t.Context(), nc, journal.Config{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	if j, err := journal.OpenExisting(t.Context(), nc, natsio.NewSubjects("")); err != nil || j.ID() != made.ID() || j.Partitions() != 2 {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestJournalsHaveDistinctIncarnations(t *testing.T) {
	a, b := journaltest.New(t, 1), journaltest.New(t, 1)
	if a.ID() == b.ID() || a.Incarnation() == b.Incarnation() {
		t.Errorf("%s and %s", a.ID(), b.ID())
	}
}
