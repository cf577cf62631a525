package commands_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/commandstest"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// on sends a command on a task and returns its receipt.
func (e *engine) on(task, verb, id, body string) (commands.Receipt, error) {
	return e.Send(e.t.Context(), commands.Request{
		Aggregate: "task", ID: task, Verb: verb, CommandID: id, Body: []byte(body), Internal: verb == "next" || verb == "expire",
	})
}

func (e *engine) mustOn(task, verb, id, body string) commands.Receipt {
	e.t.Helper()
	r, err := e.on(task, verb, id, body)
	if err != nil || r.Outcome != domain.Accepted {
		e.t.Fatalf("%s %s: %+v, %v", task, verb, r, err)
	}
	return r
}

// wantCode returns the kind and the details of a refusal that must have a code.
func (e *engine) wantCode(err error, code string) (domain.Kind, map[string]any) {
	e.t.Helper()
	var known *domain.Error
	if !errors.As(err, &known) || known.Code != code {
		e.t.Errorf("%v, want %s", err, code)
		return "", nil
	}
	return known.Kind, known.Details
}

// TestRepeatedTaskCommands: a command with two events, and one on a task that has moved
// on, is answered with its first receipt, with and without a duplicate window.
func TestRepeatedTaskCommands(t *testing.T) {
	for name, wrap := range map[string]func(history.Journal) history.Journal{
		"window":     func(j history.Journal) history.Journal { return j },
		"windowless": func(j history.Journal) history.Journal { return &commandstest.Windowless{Journal: j} },
	} {
		t.Run(name, func(t *testing.T) {
			journal, now := wrap(journaltest.History(t, 1)), time.Now().UTC()
			cfg := commands.Config{Now: func() time.Time { return now }}
			e := newEngine(t, journal, cfg)
			e.mustOn("t", "create", "", `{"kind":"k","retry":{"max_attempts":5}}`)
			type sent struct {
				verb, id, body string
				first          commands.Receipt
			}
			var all []sent
			do := func(verb, body string) commands.Receipt {
				t.Helper()
				s := sent{verb: verb, id: harness.NewID(), body: body}
				s.first = e.mustOn("t", verb, s.id, body)
				all = append(all, s)
				return s.first
			}
			if r := do("claim", `{"agent_id":"a","lease_ms":1000}`); r.Version != 2 {
				t.Errorf("%+v", r)
			}
			now = now.Add(2 * time.Second)
			if r := do("claim", `{"agent_id":"b","lease_ms":1000}`); r.Version != 4 {
				t.Errorf("a claim of an expired lease: %+v", r)
			}
			if r := do("fail", `{"reason":"boom","agent_id":"b","fence":4}`); r.Version != 6 {
				t.Errorf("a failure that is retried: %+v", r)
			}
			if r := do("next", `{"agent_id":"c","kind":"k","wait_ms":5}`); r.Version != 7 || r.Task == "" {
				t.Errorf("next: %+v", r)
			}
			do("progress", `{"note":"n","fence":7}`)
			now = now.Add(time.Minute)
			do("expire", `{"fence":7}`)
			do("claim", `{"agent_id":"a"}`)
			do("complete", `{"result":1,"agent_id":"a","fence":10}`)
			for _, e := range []*engine{e, newEngine(t, journal, cfg)} {
				for _, s := range all {
					want := s.first
					want.Replayed = true
					got, err := e.on("t", s.verb, s.id, s.body)
					if want.Task, got.Task = "", ""; err != nil || got != want {
						t.Errorf("%s again: %+v, %v, want %+v", s.verb, got, err, want)
					}
					if _, err := e.on("t", "cancel", s.id, `{}`); true {
						e.wantCode(err, "command.id_reused")
					}
				}
			}
			if evs := commandstest.Stored(t, journal, events.Task("t")); len(evs) != 11 {
				t.Errorf("%d events", len(evs))
			}
		})
	}
}

// TestOneIDClaimsOneTask: two engines that chose different tasks for one command id claim
// one of them.
func TestOneIDClaimsOneTask(t *testing.T) {
	journal := journaltest.History(t, 1)
	one, other := newEngine(t, journal, commands.Config{}), newEngine(t, journal, commands.Config{})
	for _, id := range []string{"t1", "t2"} {
		one.mustOn(id, "create", "", `{"kind":"k"}`)
	}
	id := harness.NewID()
	first := one.mustOn("t1", "next", id, `{"agent_id":"a"}`)
	_, err := other.on("t2", "next", id, `{"agent_id":"a"}`)
	var elsewhere *commands.ClaimedElsewhere
	if !errors.As(err, &elsewhere) || elsewhere.Task != "t1" {
		t.Fatalf("%v", err)
	}
	one.mustOn("t3", "create", "", `{"kind":"k"}`)
	if r, err := other.on("t3", "next", id, `{"agent_id":"b"}`); err != nil || r.ID != "t3" || r.Replayed {
		t.Errorf("the same id of another agent: %+v, %v", r, err)
	}
	if r, err := other.on("t1", "next", id, `{"agent_id":"a"}`); err != nil || r.Version != first.Version || r.Task != first.Task || !r.Replayed {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestFencesInBatches: the fence of a claim inside an atomic batch is the version that the
// receipt says.
func TestFencesInBatches(t *testing.T) {
	e := one(t)
	results := make(chan []commands.Result, 1)
	e.HandleBatch(t.Context(), "", []byte(`{"atomic":true,"commands":[{"subject":"task.t.create","body":{"kind":"k"}},
		{"subject":"task.t.claim","body":{"agent_id":"a"}},{"subject":"task.t.complete","body":{"agent_id":"a","fence":2}}]}`),
		func(s string) string { return s }, func(r []commands.Result, err error) {
			harness.Must(t, err)
			results <- r
		})
	got := harness.Receive(t, "the results", results)
	if got[1].Receipt.Version != 2 || got[2].Receipt.Version != 3 {
		t.Errorf("%+v", got)
	}
}

// TestFencedDetails: the refusal names the holder.
func TestFencedDetails(t *testing.T) {
	e := one(t)
	e.mustOn("t", "create", "", `{"kind":"k"}`)
	e.mustOn("t", "claim", "", `{"agent_id":"a"}`)
	_, err := e.on("t", "complete", "", `{"agent_id":"b","fence":2}`)
	kind, details := e.wantCode(err, "task.fenced")
	if kind != domain.Conflict || details["agent_id"] != "a" || details["fence"] != uint64(2) || details["lease_expires_at"] == nil {
		t.Errorf("%s %v", kind, details)
	}
}

// TestPermitClaims: a principal claims as its own agents, also a task whose lease another
// principal's agent has lost, and cannot act on one that another holds.
func TestPermitClaims(t *testing.T) {
	now := time.Now().UTC()
	journal := journaltest.History(t, 1)
	worker := []string{"command task:* claim,complete,fail,next,progress,start when holder"}
	e := newEngine(t, journal, commands.Config{Now: func() time.Time { return now }, Permit: permit(t, map[string][]string{
		"bob": worker, "carol": worker, "some": {"command task:job-* next when holder"}, "reader": {"query task:*"},
	})})
	as := func(who, verb, body string) error {
		_, err := e.Send(identity.With(t.Context(), &identity.Caller{Principal: who}),
			commands.Request{Aggregate: "task", ID: "t", Verb: verb, Body: []byte(body)})
		return err
	}
	e.mustOn("t", "create", "", `{"kind":"k"}`)
	e.wantCode(as("bob", "claim", `{"agent_id":"carol-1"}`), "forbidden")
	harness.Must(t, as("bob", "claim", `{"agent_id":"bob-1","lease_ms":1000}`))
	e.wantCode(as("carol", "claim", `{"agent_id":"carol-1"}`), "forbidden")
	now = now.Add(2 * time.Second)
	harness.Must(t, as("carol", "claim", `{"agent_id":"carol-1"}`))
	e.wantCode(as("bob", "complete", `{"agent_id":"bob-1","fence":2}`), "forbidden")
	harness.Must(t, as("carol", "complete", `{"agent_id":"carol-1","fence":4}`))
	for who, want := range map[string]string{"bob": "", "some": "forbidden", "reader": "forbidden"} {
		ctx := identity.With(t.Context(), &identity.Caller{Principal: who})
		condition, err := e.PermitNext(ctx)
		if want == "" {
			harness.Must(t, err)
			e.wantCode(condition(true, "carol-1"), "forbidden")
			err = condition(true, "bob-2")
		}
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && !errors.As(err, new(*domain.Error)) {
			t.Errorf("%s: %s", who, got)
		}
	}
	if s, ok := grants.ScopeOf(grants.Command, "task", "claim"); !ok || s != grants.ByTask {
		t.Error("claim is not a command by task")
	}
}
