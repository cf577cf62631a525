package feeds_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// noLetters is a target that holds nothing beside its rows.
type noLetters struct{}

func (noLetters) Letters(context.Context, int) ([]quarantine.Held, error) { return nil, nil }

// TestNothingIsToldAgainBeforeTheHeldAreKnown: after a restart the engine has
// heard nothing yet of what the view before it held. It asks, and without an
// answer tells nothing.
func TestNothingIsToldAgainBeforeTheHeldAreKnown(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	j := openOn(t, nc)
	revisions := map[string]uint64{}
	for _, agent := range []string{"held", "free"} {
		ev := set(agent)
		ev.Aggregate, ev.Version, ev.Digest, ev.Schema = "agent", 1, "d", events.Schema
		at, err := j.Append(t.Context(), events.StateEntry(agent, "k"), 0, fmt.Sprint("c-", agent), []events.Event{ev})
		if err != nil {
			t.Fatal(err)
		}
		revisions[agent] = at.Revision
	}
	openQuarantine := func() *natsquarantine.Store {
		q, err := natsquarantine.Open(t.Context(), nc, harness.Log(t))
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	err := openQuarantine().Put(t.Context(), quarantine.Held{
		View: "durable", Stream: events.StateEntry("held", "k"), Journal: j.ID(), First: revisions["held"], Last: revisions["held"], Waiting: 1,
	})
	if err != nil {
		t.Fatal(err)
	}

	s, err := feeds.NewStreams(nc, natsio.NewSubjects(""), true, harness.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	fresh, away := openQuarantine(), errors.New("away")
	if known := fresh.Known("durable", 0); len(known) != 0 {
		t.Fatalf("it is known before anybody has asked: %v", known)
	}
	n := feeds.NewNotifier(s, journal.Past{Journal: j})
	n.Held = func(context.Context, int) ([]quarantine.Held, error) { return nil, away }
	head := revisions["free"]
	if at, err := n.Again(t.Context(), 0, 0, head); at != 0 || !errors.Is(err, away) {
		t.Errorf("told up to %d, %v", at, err)
	}
	n.Held = func(ctx context.Context, p int) ([]quarantine.Held, error) {
		return projections.LeftOut(ctx, fresh, noLetters{}, "durable", p, j.ID())
	}
	if at, err := n.Again(t.Context(), 0, 0, head); at != head || err != nil {
		t.Errorf("told up to %d, %v", at, err)
	}
	var told []string
	for subject := range subjects(t, nc, "AGENT_STATE") {
		told = append(told, subject)
	}
	if !slices.Equal(told, []string{"agents.state.free"}) {
		t.Errorf("told of %v", told)
	}
}
