package commands_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// starter is a journal that delays single appends until ready is closed, and
// counts batches.
type starter struct {
	history.Journal
	ready   chan struct{}
	mu      sync.Mutex
	batches []int
	lose    bool // the answer of the first batch
	before  func(n int)
}

func (g *starter) Append(ctx context.Context, writes []history.Write) (history.Appended, error) {
	if len(writes) == 1 {
		<-g.ready
		return g.Journal.Append(ctx, writes)
	}
	g.mu.Lock()
	g.batches = append(g.batches, len(writes))
	n := len(g.batches)
	g.mu.Unlock()
	if g.before != nil {
		g.before(n)
	}
	done, err := g.Journal.Append(ctx, writes)
	if n == 1 && g.lose && err == nil {
		return history.Appended{}, history.ErrOutcomeUnknown
	}
	return done, err
}

// sendTogether sends commands of one entry at once and returns their answers in
// order.
func sendTogether(e *engine, g *starter, ids, bodies []string) []answer {
	e.t.Helper()
	waiting := make([]<-chan answer, len(bodies))
	for i := range bodies {
		waiting[i] = e.send(ids[i], "a1", "set", bodies[i])
	}
	close(g.ready)
	answers := make([]answer, len(bodies))
	for i := range waiting {
		answers[i] = harness.Receive(e.t, "an answer", waiting[i])
	}
	return answers
}

// rush are n writes of one key, in order.
func rush(n int) (ids, bodies []string) {
	for i := range n {
		ids = append(ids, youngID())
		bodies = append(bodies, fmt.Sprintf(`{"key":"k","value":%d,"strategy":"last_write_wins"}`, i))
	}
	return ids, bodies
}

// Waiting commands of one aggregate take effect in order and each has its own
// answer. A refused one and a repeated one do not affect the others.
func TestWaitingCommandsOfOneAggregateShareAnAppend(t *testing.T) {
	g := &starter{Journal: journaltest.History(t, 1), ready: make(chan struct{})}
	e := newEngine(t, g, commands.Config{})
	ids, bodies := rush(60)
	bodies[20] = `{"key":"k","value":20,"expected_version":7}`
	ids[40], bodies[40] = ids[30], bodies[30]
	version, last := uint64(0), uint64(0)
	answers := sendTogether(e, g, ids, bodies)
	for i, got := range answers {
		switch i {
		case 20:
			var known *domain.Error
			if !errors.As(got.err, &known) || known.Code != "state.conflict" || known.Details["version"] != uint64(20) || known.Details["revision"] != last {
				t.Errorf("the stale one: %+v, %+v", got.Receipt, got.err)
			}
		case 40:
			if first := answers[30].Receipt; got.err != nil || !got.Replayed || got.Version != first.Version || got.Revision != first.Revision {
				t.Errorf("the repetition: %+v, %v; first %+v", got.Receipt, got.err, first)
			}
		default:
			version++
			rec, err := g.At(t.Context(), 0, got.Revision)
			if got.err != nil || got.Version != version || got.Replayed || got.Outcome != domain.Accepted || err != nil || rec.Version != version || rec.CommandID != ids[i] || got.Revision <= last {
				t.Errorf("the %d.: %+v, %v; stored is %s", i, got.Receipt, got.err, rec.Encode())
			}
			last = got.Revision
		}
	}
	e.count("k", 58, 1)
	together := 0
	for _, n := range g.batches {
		together += n
	}
	if len(g.batches) == 0 || len(g.batches) > 6 || together < 15 {
		t.Errorf("the batches were %v", g.batches)
	}
}

// If the answer to a group's append is lost, or another engine was first, each
// command still takes effect once and in order.
func TestAFailedGroupIsExecutedOneByOne(t *testing.T) {
	for name, prepare := range map[string]func(g *starter, other *engine){
		"the answer is lost": func(g *starter, _ *engine) { g.lose = true },
		"another engine was first": func(g *starter, other *engine) {
			g.before = func(n int) {
				if n == 1 {
					other.accepted("", "set", `{"key":"k","value":"other","strategy":"last_write_wins"}`)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := &starter{Journal: journaltest.History(t, 1), ready: make(chan struct{})}
			e, other := newEngine(t, g, commands.Config{}), newEngine(t, g.Journal, commands.Config{})
			prepare(g, other)
			ids, bodies := rush(30)
			last := uint64(0)
			for i, got := range sendTogether(e, g, ids, bodies) {
				if got.err != nil || got.Revision <= last {
					t.Errorf("the %d.: %+v, %v", i, got.Receipt, got.err)
				}
				last = got.Revision
			}
			want := 30
			if !g.lose {
				want++ // the other engine's
			}
			e.count("k", want, 0)
		})
	}
}
