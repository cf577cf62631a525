package commands_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/commandstest"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/badinput"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// requires sends an atomic batch of a command with requirements.
func (e *engine) requires(id, subject, body, require string) (commands.Receipt, error) {
	e.t.Helper()
	results, err := e.batch(fmt.Sprintf(`{"atomic":true,"commands":[{"subject":%q,"id":%q,"body":%s}],"require":[%s]}`, subject, id, body, require))
	if err != nil {
		return commands.Receipt{}, err
	}
	return results[0].Receipt, results[0].Err
}

// failedAt reports whether err is 409 require.failed at an index.
func failedAt(err error, index int) bool {
	var known *domain.Error
	return errors.As(err, &known) && known.Kind == domain.Conflict && known.Code == "require.failed" && known.Details["index"] == index
}

func TestRequire(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		e := newEngine(t, journaltest.History(t, partitions), commands.Config{})
		do := func(aggregate, verb, body string) {
			t.Helper()
			if _, err := e.Send(t.Context(), commands.Request{Aggregate: aggregate, ID: "x", Verb: verb, Body: []byte(body)}); err != nil {
				t.Fatal(err)
			}
		}
		do("agent", "set", `{"key":"k","value":1}`)
		do("agent", "set", `{"key":"gone","value":1}`)
		do("agent", "delete", `{"key":"gone"}`)
		do("config", "set", `{"key":"k","value":1}`)
		do("task", "create", `{"kind":"k"}`)
		do("session", "open", `{"owner":"o"}`)
		do("claim", "acquire", `{"owner":"o"}`)
		n := uint64(0)
		for _, c := range []struct {
			require string
			failed  int // index of the requirement that fails; -1 = none
		}{
			{`{"subject":"agent.x","key":"k","version":1}`, -1}, {`{"subject":"agent.x","key":"k","version":2}`, 0}, {`{"subject":"agent.x","key":"k","version":0}`, 0},
			{`{"subject":"agent.x","key":"none","version":0}`, -1}, {`{"subject":"agent.x","key":"none","version":1}`, 0},
			{`{"subject":"agent.x","key":"gone","version":2}`, -1}, {`{"subject":"agent.x","key":"gone","version":0}`, -1}, {`{"subject":"agent.x","key":"gone","version":1}`, 0},
			{`{"subject":"config.x","key":"k","version":1}`, -1}, {`{"subject":"config.x","key":"k","version":3}`, 0},
			{`{"subject":"task.x","version":1}`, -1}, {`{"subject":"task.x","version":0}`, 0},
			{`{"subject":"session.x","version":1}`, -1}, {`{"subject":"session.x","version":2}`, 0},
			{`{"subject":"claim.x","owner":"o"}`, -1}, {`{"subject":"claim.x","owner":"p"}`, 0}, {`{"subject":"claim.x","version":1,"owner":"o"}`, -1},
			{`{"subject":"claim.x","version":2,"owner":"o"}`, 0}, {`{"subject":"claim.x","version":1}`, -1}, {`{"subject":"claim.x","version":0}`, 0},
			{`{"subject":"agent.x","key":"k","version":1},{"subject":"task.x","version":1},{"subject":"claim.x","owner":"q"},{"subject":"session.x","version":9}`, 2},
			{`{"subject":"agent.x","key":"k","version":1},{"subject":"agent.x","key":"k","version":1},{"subject":"commands.task.x","version":1}`, -1},
			{fmt.Sprintf(`{"subject":"agent.x","key":"n","version":%d}`, 0), 0}, // what the batch writes
		} {
			r, err := e.requires("", "agent.x.add", `{"key":"n","delta":1}`, strings.ReplaceAll(c.require, "commands.", ""))
			switch {
			case c.failed < 0 && err == nil:
				if n++; r.Version != n {
					t.Errorf("%s: version %d, want %d", c.require, r.Version, n)
				}
			case c.failed < 0 || !failedAt(err, c.failed):
				t.Errorf("%s: %+v, %v", c.require, r, err)
			}
		}
		if r, err := e.requires("", "agent.x.add", `{"key":"n","delta":1}`, fmt.Sprintf(`{"subject":"agent.x","key":"n","version":%d}`, n)); err != nil || r.Version != n+1 {
			t.Errorf("the version that the batch writes after: %+v, %v", r, err)
		}
		for name, want := range map[events.AggregateName]int{events.StateEntry("x", "k"): 1, events.Task("x"): 1, events.Claim("x"): 1, events.Session("x"): 1, events.Config("x", "k"): 1} {
			if got := len(e.stored(name)); got != want {
				t.Errorf("%s has %d events: what is required is not changed", name, got)
			}
		}
	}
}

// A batch with requirements that is sent again has its first receipts, whatever has become
// of what it required.
func TestRequireAgain(t *testing.T) {
	repeats(t, func(t *testing.T, e *engine, id func() string) {
		e.accepted(id(), "set", `{"key":"k","value":1}`)
		command := id()
		const require = `{"subject":"agent.a1","key":"k","version":1}`
		first, err := e.requires(command, "agent.a1.set", `{"key":"w","value":1}`, require)
		if err != nil || first.Version != 1 || first.Replayed {
			t.Fatalf("%+v, %v", first, err)
		}
		e.accepted(id(), "set", `{"key":"k","value":2}`)
		first.Replayed = true
		if again, err := e.requires(command, "agent.a1.set", `{"key":"w","value":1}`, require); err != nil || again != first {
			t.Errorf("again: %+v, %v, want %+v", again, err, first)
		}
		if _, err := e.requires(id(), "agent.a1.set", `{"key":"w","value":1}`, require); !failedAt(err, 0) {
			t.Errorf("under another id: %v", err)
		}
		e.count("w", 1, 0)
	})
}

// A batch that changes nothing needs what it requires too.
func TestRequireWithoutAnEvent(t *testing.T) {
	e := one(t)
	e.accepted("", "set", `{"key":"k","value":1}`)
	if _, err := e.claims("", "c1", "acquire", `{"owner":"o"}`); err != nil {
		t.Fatal(err)
	}
	if r, err := e.requires("", "claim.c1.acquire", `{"owner":"o"}`, `{"subject":"agent.a1","key":"k","version":1}`); err != nil || r.Outcome != domain.Unchanged {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := e.requires("", "claim.c1.acquire", `{"owner":"o"}`, `{"subject":"agent.a1","key":"k","version":2}`); !failedAt(err, 0) {
		t.Errorf("%v", err)
	}
	if got := e.stored(events.Require("c1")); len(got) > 0 {
		t.Errorf("%d guards", len(got))
	}
}

func TestRequireInAnotherPartition(t *testing.T) {
	journal := journaltest.History(t, 4)
	e := newEngine(t, journal, commands.Config{})
	other := "b"
	for journal.Partition(other) == journal.Partition("a1") {
		other += "b"
	}
	_, err := e.requires("", "agent.a1.set", `{"key":"k","value":1}`, fmt.Sprintf(`{"subject":"claim.%s","version":0}`, other))
	if !hasCode(err, "require.partitions") {
		t.Errorf("%v", err)
	}
}

// What the sender may not read, it may not require.
func TestRequireNeedsAGrant(t *testing.T) {
	e := newEngine(t, journaltest.History(t, 1), commands.Config{Permit: permit(t, map[string][]string{
		"bob": {"command agent:bob-*", "query agent:team.mood get", "query claim:* when holder", "query task:open"},
	})})
	if _, err := e.claims("", "alices", "acquire", `{"owner":"alice"}`); err != nil {
		t.Fatal(err)
	}
	if _, err := e.claims("", "bobs", "acquire", `{"owner":"bob-1"}`); err != nil {
		t.Fatal(err)
	}
	bob := identity.With(context.Background(), &identity.Caller{Principal: "bob"})
	for require, ok := range map[string]bool{
		`{"subject":"agent.team","key":"mood","version":0}`: true, `{"subject":"agent.team","key":"wish","version":0}`: false,
		`{"subject":"agent.bob-1","key":"k","version":0}`: false, `{"subject":"claim.bobs","owner":"bob-1"}`: true,
		`{"subject":"claim.alices","owner":"alice"}`: false, `{"subject":"claim.none","version":0}`: false,
		`{"subject":"task.open","version":0}`: true, `{"subject":"task.closed","version":0}`: false,
	} {
		body := fmt.Sprintf(`{"atomic":true,"commands":[{"subject":"agent.bob-1.set","body":{"key":"w","value":1}}],"require":[%s]}`, require)
		answers := make(chan error, 1)
		e.HandleBatch(bob, "", []byte(body), strings.Clone, func(_ []commands.Result, err error) { answers <- err })
		if err := <-answers; ok != (err == nil) || !ok && !hasCode(err, "forbidden") {
			t.Errorf("%s: %v", require, err)
		}
	}
}

// TestRequireIsTrueAtTheAppend: two engines write entries at random and batches that require
// other entries. Every batch that took effect was appended while all that it required was as
// it said; every one that was refused changed nothing.
func TestRequireIsTrueAtTheAppend(t *testing.T) {
	journal := journaltest.History(t, 1)
	engines := []*engine{newEngine(t, journal, commands.Config{}), newEngine(t, journal, commands.Config{})}
	var taken, failed atomic.Int64
	var open sync.WaitGroup
	const keys, workers, each = 3, 8, 40
	for i := range workers {
		open.Go(func() {
			e := engines[i%2]
			for range each {
				a, b, c := rand.IntN(keys), rand.IntN(keys), rand.IntN(keys)
				if i < 2 { // a writer without requirements
					if _, err := e.Send(t.Context(), commands.Request{Aggregate: "agent", ID: "a1", Verb: "add", Body: fmt.Appendf(nil, `{"key":"k%d","delta":1}`, a)}); err != nil {
						t.Error(err)
					}
					continue
				}
				require := fmt.Sprintf(`{"subject":"agent.a1","key":"k%d","version":%d},{"subject":"agent.a1","key":"k%d","version":%d}`,
					b, lastVersion(t, journal, b), c, lastVersion(t, journal, c))
				_, err := e.requires("", "agent.a1.add", fmt.Sprintf(`{"key":"k%d","delta":1}`, a), require)
				var known *domain.Error
				switch {
				case err == nil:
					taken.Add(1)
				case errors.As(err, &known) && known.Code == "require.failed":
					failed.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	open.Wait()
	if taken.Load() == 0 || failed.Load() == 0 {
		t.Fatalf("%d batches taken, %d failed: there was no race", taken.Load(), failed.Load())
	}
	t.Logf("%d batches taken, %d failed", taken.Load(), failed.Load())
	writes, checked := 0, checkGuards(t, journal)
	for k := range keys {
		writes += len(commandstest.Stored(t, journal, events.StateEntry("a1", fmt.Sprint("k", k))))
	}
	if want := int(taken.Load()) + 2*each; writes != want || checked == 0 {
		t.Errorf("%d writes, want %d; %d guards", writes, want, checked)
	}
}

func lastVersion(t *testing.T, journal history.Journal, k int) uint64 {
	rec, _, err := journal.Last(t.Context(), events.StateEntry("a1", fmt.Sprint("k", k)), history.Fast)
	if err != nil {
		t.Error(err)
	}
	return rec.Version
}

// checkGuards compares each guard in the journal with the events before its batch, and
// returns how many there are.
func checkGuards(t *testing.T, journal history.Journal) (n int) {
	t.Helper()
	end, _, err := journal.Last(t.Context(), events.Require("a1"), history.Linearizable)
	if err != nil {
		t.Fatal(err)
	}
	last := map[events.AggregateName]uint64{}
	batch := map[events.AggregateName]uint64{} // written by the command that is being read
	command := ""
	for revision := uint64(1); revision <= end.Revision; revision++ {
		rec, err := journal.At(t.Context(), 0, revision)
		if err != nil {
			t.Fatal(err)
		}
		if rec.CommandID != command {
			for name, at := range batch {
				last[name] = at
			}
			clear(batch)
			command = rec.CommandID
		}
		if rec.Type != events.RequireChecked {
			batch[rec.Name] = revision
			continue
		}
		n++
		var d events.RequireCheck
		if err := json.Unmarshal(rec.Data, &d); err != nil || last[d.Name] != d.Revision {
			t.Errorf("revision %d: %s was required at %d, it was at %d (%v)", revision, d.Name, d.Revision, last[d.Name], err)
		}
	}
	return n
}

// TestRequirePreventsWriteSkew: of two batches that each write what the other requires, one
// takes effect, whichever engine has it.
func TestRequirePreventsWriteSkew(t *testing.T) {
	journal := journaltest.History(t, 1)
	engines := []*engine{newEngine(t, journal, commands.Config{}), newEngine(t, journal, commands.Config{})}
	for round := range 40 {
		errs := make([]error, 2)
		var open sync.WaitGroup
		for i := range 2 {
			open.Go(func() {
				_, errs[i] = engines[i].requires("", "agent.a1.set", fmt.Sprintf(`{"key":"r%d-%d","value":1}`, round, i),
					fmt.Sprintf(`{"subject":"agent.a1","key":"r%d-%d","version":0}`, round, 1-i))
			})
		}
		open.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !failedAt(errs[0], 0) && !failedAt(errs[1], 0) {
			t.Fatalf("round %d: %v and %v", round, errs[0], errs[1])
		}
	}
}

// A batch whose append loses against other writers is attempted until its requirements
// fail or it takes effect.
func TestRequireAfterConflicts(t *testing.T) {
	journal := &troubled{Journal: journaltest.History(t, 1)}
	e := newEngine(t, journal, commands.Config{Timeout: time.Minute})
	for range 30 {
		journal.next = append(journal.next, func(func() (history.Appended, error)) (history.Appended, error) {
			return history.Appended{}, history.ErrConflict
		})
	}
	if r, err := e.requires("", "agent.a1.set", `{"key":"k","value":1}`, `{"subject":"agent.a1","key":"l","version":0}`); err != nil || r.Version != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestBadRequirements(t *testing.T) {
	e := one(t)
	for _, c := range badinput.Requires() {
		_, err := e.requires("", "agent.a1.set", `{"key":"k","value":1}`, c.Body)
		var known *domain.Error
		if !errors.As(err, &known) || known.Kind.Status() != c.Status || known.Code != c.Code || !strings.Contains(known.Message, c.Place) || known.Details["index"] != 0 {
			t.Errorf("%s: %v, want %d %s with %q", c.Body, err, c.Status, c.Code, c.Place)
		}
	}
	const command = `{"subject":"agent.a1.set","body":{"key":"k","value":1}}`
	many := strings.Repeat(`{"subject":"task.t1","version":0},`, 101)
	for body, code := range map[string]string{
		`{"atomic":true,"commands":[` + command + `],"require":{}}`:                                              "body.invalid",
		`{"atomic":true,"commands":[` + command + `],"require":"x"}`:                                             "body.invalid",
		`{"atomic":true,"commands":[` + command + `],"require":null}`:                                            "body.invalid",
		`{"atomic":true,"commands":[` + command + `],"require":[` + many[:len(many)-1] + `]}`:                    "require.size",
		`{"atomic":true,"commands":[],"require":[{"subject":"task.t1","version":0}]}`:                            "batch.size",
		`{"commands":[` + command + `,` + command + `],"require":[{"subject":"task.t1","version":0}]}`:           "require.not_atomic",
		`{"commands":[` + command + `],"require":[{"subject":"task.t1","version":5}]}`:                           "require.failed",
		`{"commands":[{"subject":"agent.m.heartbeat","body":{}}],"require":[{"subject":"task.t1","version":0}]}`: "batch.not_atomic",
	} {
		if _, err := e.batch(body); !hasCode(err, code) {
			t.Errorf("%.200s: %v, want %s", body, err, code)
		}
	}
	e.count("k", 0, 0)
	for _, body := range []string{`{"atomic":true,"commands":[` + command + `],"require":[]}`, `{"commands":[` + command + `],"require":[{"subject":"task.t1","version":0}]}`} {
		if r, err := e.batch(body); err != nil || r[0].Err != nil {
			t.Errorf("%s: %+v, %v", body, r, err)
		}
	}
}
