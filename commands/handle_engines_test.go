package commands_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// engines share one journal; each has its own connection.
func engines(t *testing.T, n int) []*engine {
	t.Helper()
	s := support.NATS(t)
	all := make([]*engine, n)
	for i := range all {
		j, err := journal.Open(t.Context(), support.Engine(t, s), journal.Config{})
		if err != nil {
			t.Fatal(err)
		}
		all[i] = newEngine(t, history.New(j, nil, 0), commands.Config{})
	}
	return all
}

func TestTwoEnginesOneKeyLastWriteWins(t *testing.T) {
	all := engines(t, 2)
	const writers, each = 4, 25
	answers := make(chan answer, len(all)*writers*each)
	var wg sync.WaitGroup
	for i, e := range all {
		for w := range writers {
			wg.Go(func() {
				for n := range each {
					body := fmt.Sprintf(`{"key":"k","value":"%d-%d-%d","strategy":"last_write_wins"}`, i, w, n)
					answers <- <-e.send("", "a1", "set", body)
				}
			})
		}
	}
	wg.Wait()
	close(answers)
	versions := map[uint64]bool{}
	for a := range answers {
		if a.err != nil || a.Outcome != domain.Accepted || a.Replayed || versions[a.Version] {
			t.Errorf("%+v", a)
		}
		versions[a.Version] = true
	}
	all[0].count("k", len(all)*writers*each, 0)
	conflicts := all[0].Stats().Conflicts.Load() + all[1].Stats().Conflicts.Load()
	t.Logf("%d conflicts were retried", conflicts)
}

// An engine with a stale head neither refuses a valid command nor accepts an
// invalid one.
func TestAStaleHeadNeverAnswersFalsely(t *testing.T) {
	all := engines(t, 2)
	a, b := all[0], all[1]
	version := func(format string, v uint64) string { return fmt.Sprintf(format, v) }
	for range 5 {
		r := a.accepted("", "set", `{"key":"k","value":1,"strategy":"last_write_wins"}`) // a's head is at r
		for range 2 {
			r = b.accepted("", "set", `{"key":"k","value":2,"strategy":"last_write_wins"}`)
		}
		stale := a.refused("", "set", version(`{"key":"k","value":3,"expected_version":%d}`, r.Version-2), domain.Conflict, "state.conflict")
		if stale.Details["version"] != r.Version || stale.Details["revision"] != r.Revision {
			t.Errorf("lost against %+v, the entry is at %+v", stale.Details, r)
		}
		r = b.accepted("", "set", `{"key":"k","value":4,"strategy":"last_write_wins"}`)
		a.accepted("", "set", version(`{"key":"k","value":5,"expected_version":%d}`, r.Version))
		r = b.accepted("", "delete", `{"key":"k","strategy":"last_write_wins"}`)
		a.accepted("", "set", `{"key":"k","value":6,"strategy":"reject"}`)
		b.accepted("", "set", version(`{"key":"k","value":7,"expected_version":%d}`, r.Version+1))
		a.accepted("", "delete", `{"key":"k"}`)
		b.refused("", "delete", `{"key":"k"}`, domain.NotFound, "state.not_found")
	}
	a.refused("", "delete", `{"key":"none"}`, domain.NotFound, "state.not_found")
	b.accepted("", "set", `{"key":"none","value":1}`)
	a.accepted("", "delete", `{"key":"none"}`)
}

// Refresh only avoids a conflict.
func TestRefreshAvoidsAConflict(t *testing.T) {
	all := engines(t, 2)
	a, b := all[0], all[1]
	a.accepted("", "set", `{"key":"k","value":1,"strategy":"last_write_wins"}`)
	r := b.accepted("", "set", `{"key":"k","value":2,"strategy":"last_write_wins"}`)
	a.Refresh(events.StateEntry("a1", "k"), r.Revision)
	a.accepted("", "set", `{"key":"k","value":3,"strategy":"last_write_wins"}`)
	if n := a.Stats().Conflicts.Load(); n != 0 {
		t.Errorf("%d conflicts", n)
	}
	a.Refresh(events.StateEntry("a1", "k"), 1)
	a.Refresh(events.StateEntry("a1", "unknown"), 1000)
	a.accepted("", "set", `{"key":"k","value":4,"strategy":"last_write_wins"}`)
}

// The same command, sent to two engines at once, takes effect once.
func TestTheSameCommandToTwoEngines(t *testing.T) {
	all := engines(t, 2)
	for age, id := range map[string]func() string{"young": youngID, "old": oldID} {
		for i := range 15 {
			key := fmt.Sprintf("%s-%d", age, i)
			body, command := fmt.Sprintf(`{"key":"%s","value":1,"strategy":"last_write_wins"}`, key), id()
			var waiting []<-chan answer
			for range 3 {
				for _, e := range all {
					waiting = append(waiting, e.send(command, "a1", "set", body))
				}
			}
			first := 0
			var receipt commands.Receipt
			for _, w := range waiting {
				got := harness.Receive(t, "an answer", w)
				if got.err != nil {
					t.Fatalf("%+v", got)
				}
				if !got.Replayed {
					first++
				}
				got.Replayed = false
				if receipt.CommandID != "" && got.Receipt != receipt {
					t.Errorf("one receipt is %+v, another %+v", receipt, got.Receipt)
				}
				receipt = got.Receipt
			}
			if first != 1 {
				t.Errorf("%d answers say they were the first", first)
			}
			all[0].count(key, 1, 0)
		}
	}
}
