package commands_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// claims sends a command on a claim.
func (e *engine) claims(id, claim, verb, body string) (commands.Receipt, error) {
	return e.Send(e.t.Context(), commands.Request{Aggregate: "claim", ID: claim, Verb: verb, CommandID: id, Body: []byte(body), Internal: verb == "expire"})
}

func hasCode(err error, code string) bool {
	var known *domain.Error
	return errors.As(err, &known) && known.Code == code
}

// A command on a claim that is sent again has its first receipt, also when the
// acquisition has recorded the end of the lease before it.
func TestAClaimsCommandAgain(t *testing.T) {
	repeats(t, func(t *testing.T, e *engine, id func() string) {
		again := func(command, verb, body string, first commands.Receipt) {
			t.Helper()
			first.Replayed = true
			if r, err := e.claims(command, "c1", verb, body); err != nil || r != first {
				t.Errorf("%s again: %+v, %v\nwant %+v", verb, r, err, first)
			}
		}
		must := func(command, verb, body string) commands.Receipt {
			t.Helper()
			r, err := e.claims(command, "c1", verb, body)
			if err != nil || r.Outcome != domain.Accepted || r.Replayed {
				t.Fatalf("%s %s: %+v, %v", verb, body, r, err)
			}
			return r
		}
		short, take, keep, free := id(), id(), id(), id()
		const leased, taking = `{"owner":"o","lease_ms":1,"data":{"b":1,"a":2}}`, `{"owner":"p"}`
		first := must(short, "acquire", leased)
		var taken commands.Receipt
		harness.Eventually(t, "the end of the lease", func() (err error) {
			taken, err = e.claims(take, "c1", "acquire", taking)
			return err
		})
		if first.Version != 1 || taken.Version != 3 || taken.Replayed {
			t.Fatalf("%+v and %+v", first, taken)
		}
		again(take, "acquire", taking, taken)
		again(short, "acquire", `{ "lease_ms":1, "owner":"o", "data":{"a":2,"b":1}}`, first)
		keeping := fmt.Sprintf(`{"owner":"p","fence":%d,"lease_ms":60000}`, taken.Version)
		kept := must(keep, "renew", keeping)
		again(take, "acquire", taking, taken)
		again(keep, "renew", keeping, kept)
		freeing := fmt.Sprintf(`{"owner":"p","fence":%d}`, kept.Version)
		freed := must(free, "release", freeing)
		again(keep, "renew", keeping, kept)
		again(free, "release", freeing, freed)
		again(take, "acquire", taking, taken)
		if _, err := e.claims(take, "c1", "acquire", `{"owner":"q"}`); !hasCode(err, "command.id_reused") {
			t.Errorf("another body: %v", err)
		}
		if r, err := e.claims(id(), "c1", "release", freeing); err != nil || r.Outcome != domain.Unchanged {
			t.Errorf("released twice: %+v, %v", r, err)
		}
		var types []string
		for _, rec := range e.stored(events.Claim("c1")) {
			types = append(types, rec.Type)
		}
		if fmt.Sprint(types) != "[claim.acquired claim.expired claim.acquired claim.renewed claim.released]" {
			t.Errorf("%v", types)
		}
	})
}

// Twenty owners race for one claim on two engines: each round has one winner, and fences
// rise.
func TestOneWinnerOfEachRound(t *testing.T) {
	journal := journaltest.History(t, 1)
	engines := []*engine{newEngine(t, journal, commands.Config{}), newEngine(t, journal, commands.Config{})}
	fence := uint64(0)
	for round := range 10 {
		won := make(chan commands.Receipt, 20)
		var open sync.WaitGroup
		owners := sync.Map{}
		for i := range 20 {
			open.Go(func() {
				owner := fmt.Sprintf("o%d", i)
				r, err := engines[i%2].claims("", "c1", "acquire", fmt.Sprintf(`{"owner":%q,"lease_ms":60000}`, owner))
				switch {
				case err == nil:
					owners.Store(r.Version, owner)
					won <- r
				case !hasCode(err, "claim.held"):
					t.Errorf("%s: %v", owner, err)
				}
			})
		}
		open.Wait()
		if len(won) != 1 {
			t.Fatalf("round %d has %d winners", round, len(won))
		}
		r := <-won
		if r.Version <= fence {
			t.Errorf("round %d: fence %d after %d", round, r.Version, fence)
		}
		fence = r.Version
		owner, _ := owners.Load(fence)
		if _, err := engines[1].claims("", "c1", "release", fmt.Sprintf(`{"owner":"someone","fence":%d}`, fence)); !hasCode(err, "claim.fenced") {
			t.Errorf("released by another owner: %v", err)
		}
		if _, err := engines[round%2].claims("", "c1", "release", fmt.Sprintf(`{"owner":%q,"fence":%d}`, owner, fence)); err != nil {
			t.Fatal(err)
		}
	}
}

// The engine's own verb ends only a lease that has run out.
func TestExpire(t *testing.T) {
	e := one(t)
	if r, err := e.claims("", "c1", "expire", `{}`); err != nil || r.Outcome != domain.Unchanged {
		t.Errorf("never acquired: %+v, %v", r, err)
	}
	if _, err := e.claims("", "c1", "acquire", `{"owner":"o","lease_ms":1}`); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the expiry", func() error {
		r, err := e.claims("", "c1", "expire", ``)
		if err == nil && r.Outcome != domain.Accepted {
			err = fmt.Errorf("%+v", r)
		}
		return err
	})
	if _, err := e.claims("", "c1", "renew", `{"owner":"o","fence":1}`); !hasCode(err, "claim.fenced") {
		t.Errorf("renewed after its end: %v", err)
	}
	if r, err := e.claims("", "c1", "acquire", `{"owner":"o"}`); err != nil || r.Version != 3 {
		t.Errorf("acquired again: %+v, %v", r, err)
	}
	if r, err := e.claims("", "c1", "expire", `{}`); err != nil || r.Outcome != domain.Unchanged {
		t.Errorf("without a lease: %+v, %v", r, err)
	}
}
