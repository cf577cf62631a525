package commands_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// Many concurrent appends, each to its own aggregate: every fifth is stale and
// every seventh was stored before. The others are not affected.
func TestAConflictInAGroupFailsNoOtherAppend(t *testing.T) {
	j := journaltest.History(t, 2)
	c := groupcommit.New(j, 2)
	next := func(s events.AggregateName, key string) []events.Event {
		return []events.Event{{
			Type: events.StateSet, Aggregate: "agent", ID: s.ID(), Key: key, Version: 1, Digest: "d", Schema: 1, Data: []byte(`{"value":1}`)}}
	}
	const n = 700
	for round := range 3 {
		var wg sync.WaitGroup
		for i := range n {
			key := fmt.Sprintf("k%d-%d", round, i)
			s := events.StateEntry(fmt.Sprint("a", i%9), key)
			first := history.Appended{}
			if i%7 == 0 || i%5 == 0 {
				var err error
				if first, err = j.Append(t.Context(), history.Writes(s, 0, key, next(s, key))); err != nil {
					t.Fatal(err)
				}
			}
			wg.Go(func() {
				id, after := key, first.Revision
				if i%5 == 0 {
					id, after = key+"-stale", 0
				}
				got, err := c.Append(t.Context(), history.Writes(s, after, id, next(s, key)))
				switch {
				case i%5 == 0:
					if !errors.Is(err, history.ErrConflict) {
						t.Errorf("%s is stale: %+v, %v", s, got, err)
					}
				case i%7 == 0:
					if err != nil || got != (history.Appended{Revision: first.Revision, Duplicate: true}) {
						t.Errorf("%s is known at %d: %+v, %v", s, first.Revision, got, err)
					}
				default:
					rec, aerr := j.At(t.Context(), j.Partition(s.ID()), got.Revision)
					if err != nil || aerr != nil || got.Duplicate || rec.Name != s {
						t.Errorf("%s: %+v, %v; there is %s, %v", s, got, err, rec.Name, aerr)
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestEnginesThatCommitInGroups(t *testing.T) {
	j := journaltest.History(t, 1)
	a := newEngine(t, groupcommit.New(j, 1), commands.Config{})
	b := newEngine(t, groupcommit.New(j, 1), commands.Config{})
	const keys, each = 12, 12
	var answers []<-chan answer
	for i := range keys * each {
		for _, e := range []*engine{a, b} {
			answers = append(answers, e.send("", "a1", "set", fmt.Sprintf(`{"key":"k%d","value":%d,"strategy":"last_write_wins"}`, i%keys, i)))
		}
	}
	for _, w := range answers {
		if got := harness.Receive(t, "an answer", w); got.err != nil || got.Outcome != domain.Accepted {
			t.Errorf("%+v", got)
		}
	}
	for k := range keys {
		a.count(fmt.Sprint("k", k), 2*each, 0)
	}
}

func (e *engine) batch(body string) ([]commands.Result, error) {
	e.t.Helper()
	type reply struct {
		results []commands.Result
		err     error
	}
	replies := make(chan reply, 1)
	e.HandleBatch(context.Background(), "", []byte(body), strings.Clone, func(r []commands.Result, err error) { replies <- reply{r, err} })
	got := harness.Receive(e.t, "a batch's answer", replies)
	return got.results, got.err
}

func item(agent, verb, id, body string) string {
	return fmt.Sprintf(`{"subject":"agent.%s.%s","id":%q,"body":%s}`, agent, verb, id, body)
}

func TestABatchIsAnsweredOneByOne(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		e := newEngine(t, journaltest.History(t, partitions), commands.Config{})
		body := `{"commands":[` + item("a1", "set", "c1", `{"key":"k","value":1}`) + `,` + item("a1", "set", "", `{"key":"k","value":2,"expected_version":1}`) +
			`,` + item("a2", "set", "c3", `{"key":"no key","value":1}`) + `,` + item("a3", "delete", "c4", `{"key":"k"}`) + `,` +
			item("a1", "delete", "c5", `{"key":"k","strategy":"last_write_wins"}`) + `]}`
		results, err := e.batch(body)
		if err != nil || len(results) != 5 {
			t.Fatalf("%+v, %v", results, err)
		}
		for i, want := range []string{"1", "2", "key.invalid", "state.not_found", "3"} {
			got := fmt.Sprint(results[i].Receipt.Version)
			var known *domain.Error
			if errors.As(results[i].Err, &known) {
				got = known.Code
			}
			if got != want {
				t.Errorf("the %d. came to %s, want %s: %+v", i+1, got, want, results[i])
			}
		}
		e.count("k", 3, 0)
	}
}

func TestAnAtomicBatchIsAllOrNothing(t *testing.T) {
	e := one(t)
	e.accepted("", "set", `{"key":"k","value":0}`)
	good := item("a1", "set", "c1", `{"key":"k","value":1,"expected_version":1}`) + `,` + item("a2", "set", "c2", `{"key":"l","value":1}`) + `,` +
		item("a1", "set", "c3", `{"key":"k","value":2,"expected_version":2}`)
	for bad, code := range map[string]string{
		item("a2", "set", "x", `{"key":"l","value":2,"expected_version":7}`): "state.conflict", item("a2", "delete", "x", `{"key":"none"}`): "state.not_found",
		item("a2", "set", "x", `{"key":"l"}`): "body.missing_field", item("a1", "set", "c1", `{"key":"k","value":1,"expected_version":1}`): "batch.repeated_id",
		item("a2", "nope", "x", `{}`): "command.unknown",
	} {
		_, err := e.batch(`{"atomic":true,"commands":[` + good + `,` + bad + `]}`)
		var known *domain.Error
		if !errors.As(err, &known) || known.Code != code || known.Details["index"] != 3 {
			t.Errorf("%s: %+v", bad, err)
		}
	}
	e.count("k", 1, 0)
	first, err := e.batch(`{"atomic":true,"commands":[` + good + `]}`)
	if err != nil || len(first) != 3 || first[0].Receipt.Version != 2 || first[1].Receipt.Version != 1 || first[2].Receipt.Version != 3 ||
		first[2].Receipt.Revision != first[0].Receipt.Revision+2 {
		t.Fatalf("%+v, %v", first, err)
	}
	e.count("k", 3, 0)
	again, err := e.batch(`{"atomic":true,"commands":[` + good + `]}`)
	if err != nil || len(again) != 3 {
		t.Fatalf("again: %+v, %v", again, err)
	}
	for i := range again {
		if again[i].Receipt.Replayed = false; again[i] != first[i] {
			t.Errorf("again: %+v\nfirst %+v", again[i], first[i])
		}
	}
	_, err = e.batch(`{"atomic":true,"commands":[` + good + `,` + item("a3", "set", "c4", `{"key":"k","value":1}`) + `]}`)
	if err == nil {
		t.Error("a batch that has partly taken effect before is taken")
	}
	e.count("k", 3, 0)
}

// A batch of one command is one plain append, which the journal answers with the
// duplicate's revision instead of an error.
func TestARepeatedBatchOfOneCommandIsReplayed(t *testing.T) {
	e := one(t)
	body := `{"atomic":true,"commands":[` + item("a1", "set", youngID(), `{"key":"k","value":1,"strategy":"last_write_wins"}`) + `]}`
	first, err := e.batch(body)
	if err != nil || len(first) != 1 || first[0].Err != nil {
		t.Fatalf("%+v, %v", first, err)
	}
	e.accepted("", "set", `{"key":"k","value":2,"strategy":"last_write_wins"}`)
	again, err := e.batch(body)
	if first[0].Receipt.Replayed = true; err != nil || len(again) != 1 || again[0] != first[0] {
		t.Errorf("again: %+v, %v\nfirst %+v", again, err, first)
	}
	e.count("k", 2, 0)
}

func TestBatchesAreRead(t *testing.T) {
	e := newEngine(t, journaltest.History(t, 4), commands.Config{})
	for body, code := range map[string]string{
		`{}`: "body.missing_field", `{"commands":[]}`: "batch.size", `{"commands":{}}`: "body.invalid", `{"command":[]}`: "body.unknown_field", `[`: "json.invalid",
		`{"atomic":true,"commands":[{"subject":"x"}]}`: "command.unknown", `{"atomic":true,"commands":[{"subject":"agent.a.set","nope":1}]}`: "body.unknown_field",
		`{"atomic":true,"atomic":true,"commands":[]}`: "json.invalid", `{"commands":[]} 1`: "json.invalid", `[]`: "body.invalid", `{"commands":[1,]}`: "json.invalid",
		"{\"commands\":[],\"\xff\":1}": "body.unknown_field", `{"commands":null}`: "body.missing_field", `null`: "body.missing_field", ` `: "json.invalid", `{"commands":[{"subject":"agent.a.set"}`: "json.invalid", ``: "body.missing_field",
		`{"atomic":1,"commands":[]}`: "body.invalid",
	} {
		_, err := e.batch(body)
		var known *domain.Error
		if !errors.As(err, &known) || known.Code != code {
			t.Errorf("%s: %v", body, err)
		}
	}
	all := ""
	for i := range commands.MaxBatch + 1 {
		all += fmt.Sprintf(`,{"subject":"agent.a%d.set","body":{"key":"k","value":1}}`, i)
	}
	if _, err := e.batch(`{"commands":[` + all[1:] + `]}`); err == nil {
		t.Error("one too many is taken")
	}
	_, err := e.batch(`{"atomic":true,"commands":[` + item("a", "set", "", `{"key":"k","value":1}`) + `,` + item("a1", "set", "", `{"key":"k","value":1}`) + `]}`)
	var known *domain.Error
	if !errors.As(err, &known) || known.Code != "batch.partitions" || known.Details["index"] != 1 {
		t.Errorf("across partitions: %v", err)
	}
}

// Transfers between accounts of different agents, by two engines at once: the
// sum never changes.
func TestAtomicTransfersKeepTheSum(t *testing.T) {
	all := engines(t, 2)
	const accounts, start, transfers = 4, 100, 25
	for i := range accounts {
		harness.Receive(t, "an answer", all[0].send("", fmt.Sprint("acc", i), "set", fmt.Sprintf(`{"key":"balance","value":%d}`, start)))
	}
	balance := func(e *engine, account int) (value int, version uint64) {
		rec, _, err := e.journal.Last(t.Context(), events.StateEntry(fmt.Sprint("acc", account), "balance"), history.Linearizable)
		if err != nil {
			t.Error(err)
		}
		if w, err := events.DecodeStateWrite(rec.Data); err == nil {
			_, _ = fmt.Sscan(string(w.Value), &value)
		}
		return value, rec.Version
	}
	var wg sync.WaitGroup
	for w, e := range []*engine{all[0], all[1], all[0], all[1]} {
		wg.Go(func() {
			deadline := time.Now().Add(20 * time.Second)
			for n := 0; n < transfers && time.Now().Before(deadline); {
				from, to := (n+w)%accounts, (n+w+1)%accounts
				a, va := balance(e, from)
				b, vb := balance(e, to)
				body := `{"key":"balance","value":%d,"strategy":"last_write_wins","expected_version":%d}`
				_, err := e.batch(`{"atomic":true,"commands":[` + item(fmt.Sprint("acc", from), "set", "", fmt.Sprintf(body, a-1, va)) + `,` +
					item(fmt.Sprint("acc", to), "set", "", fmt.Sprintf(body, b+1, vb)) + `]}`)
				var known *domain.Error
				switch {
				case err == nil:
					n++
				case !errors.As(err, &known) || known.Kind != domain.Conflict:
					t.Errorf("a transfer came to %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	sum, versions := 0, uint64(0)
	for i := range accounts {
		value, version := balance(all[0], i)
		sum, versions = sum+value, versions+version
	}
	if sum != accounts*start || versions != accounts+4*transfers*2 {
		t.Errorf("the sum is %d, was %d; %d events", sum, accounts*start, versions)
	}
}
