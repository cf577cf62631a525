package journal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/history/historytest"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/natsiotest"
)

// reads are all reads of a history that must contain an event which is stored. Each
// returns the revision of the newest event of name that it finds.
var reads = map[string]func(ctx context.Context, h *history.History, name events.AggregateName, revision uint64) (uint64, error){
	"last": func(ctx context.Context, h *history.History, name events.AggregateName, _ uint64) (uint64, error) {
		rec, _, err := h.Last(ctx, name, history.Linearizable)
		return rec.Revision, err
	},
	"since": func(ctx context.Context, h *history.History, name events.AggregateName, _ uint64) (last uint64, err error) {
		err = h.Since(ctx, name, time.Unix(1, 0), func(rec events.Record) bool { last = rec.Revision; return true })
		return last, err
	},
	"of after": func(ctx context.Context, h *history.History, name events.AggregateName, revision uint64) (last uint64, err error) {
		err = h.Of(ctx, name, revision-1, 0, func(m history.Message) error { last = m.Revision; return nil })
		return last, err
	},
	"between": func(ctx context.Context, h *history.History, _ events.AggregateName, revision uint64) (last uint64, err error) {
		err = h.Between(ctx, 0, revision-min(revision, 3), revision, func(m history.Message) error { last = m.Revision; return nil })
		return last, err
	},
	"at": func(ctx context.Context, h *history.History, _ events.AggregateName, revision uint64) (uint64, error) {
		rec, err := h.At(ctx, 0, revision)
		return rec.Revision, err
	},
	"events at": func(ctx context.Context, h *history.History, _ events.AggregateName, revision uint64) (uint64, error) {
		got, err := h.EventsAt(ctx, 0, []uint64{revision})
		return got[0].Revision, err
	},
	"as of": func(ctx context.Context, h *history.History, name events.AggregateName, revision uint64) (uint64, error) {
		rec, _, err := h.AsOf(ctx, name, history.Moment{Revision: revision})
		return rec.Revision, err
	},
	"many as of": func(ctx context.Context, h *history.History, name events.AggregateName, revision uint64) (uint64, error) {
		recs, err := h.ManyAsOf(ctx, events.AgentStates(name.ID()), []events.AggregateName{name}, history.Moment{Revision: revision})
		if err != nil || len(recs) == 0 {
			return 0, err
		}
		return recs[0].Revision, nil
	},
	"ends up to": func(ctx context.Context, h *history.History, name events.AggregateName, revision uint64) (uint64, error) {
		got, err := h.Ends(ctx, []events.AggregateName{name}, history.Bound{Revision: revision}, history.Fast)
		return got[0].Revision, err
	},
	"ends before": func(ctx context.Context, h *history.History, name events.AggregateName, _ uint64) (uint64, error) {
		got, err := h.Ends(ctx, []events.AggregateName{name}, history.Bound{Before: time.Now().Add(time.Hour)}, history.Fast)
		return got[0].Revision, err
	},
	"each last": func(ctx context.Context, h *history.History, name events.AggregateName, _ uint64) (last uint64, err error) {
		err = h.EachLast(ctx, events.AgentStates(name.ID()), func(rec events.Record) { last = max(last, rec.Revision) })
		return last, err
	},
}

// TestReadsOnAClusterAreFresh: each history is connected to another server of three
// and reads what the others have just appended. A direct get is answered by the
// server of the connection, which mostly has not applied the event yet.
func TestReadsOnAClusterAreFresh(t *testing.T) {
	histories, _ := clusterHistories(t)
	var wg sync.WaitGroup
	for name, read := range reads {
		wg.Go(func() {
			s := events.StateEntry("a-"+fmt.Sprintf("%x", name), "k")
			rounds, stale, last := 100, 0, uint64(0)
			if name == "between" || name == "each last" { // each creates a consumer
				rounds = 10
			}
			for i := range rounds {
				got, err := histories[i%3].Append(t.Context(), history.Writes(s, last, "", []events.Event{{
					Type: events.StateSet, Aggregate: "agent", ID: s.ID(), Key: "k", Version: uint64(i + 1), Timestamp: time.Now(), RecordedAt: time.Now(),
					Digest: "d", Schema: events.Schema, Data: []byte(`{"value":1}`),
				}}))
				if err != nil {
					if errors.Is(err, history.ErrOutcomeUnknown) {
						t.Errorf("%s: %v", name, err)
					}
					t.Errorf("%s: append: %v", name, err)
					return
				}
				last = got.Revision
				for r := 1; r < 3; r++ {
					found, err := read(t.Context(), histories[(i+r)%3], s, last)
					if err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
					if found < last {
						stale++
					}
				}
			}
			if stale > 0 {
				t.Errorf("%s: %d of %d reads do not contain the event that was appended before", name, stale, 2*rounds)
			}
		})
	}
	wg.Wait()
}

// TestComparesOnACluster runs the races of comparisons on a replicated journal, whose leader
// compares proposals before they are applied.
func TestComparesOnACluster(t *testing.T) {
	histories, _ := clusterHistories(t)
	historytest.Compares(t, histories[0])
}

// clusterHistories returns one history on each of three servers.
func clusterHistories(t *testing.T) ([3]*history.History, []*server.Server) {
	t.Helper()
	var histories [3]*history.History
	servers := natsiotest.ClusterServers(t, 0)
	for i, s := range servers {
		j, err := journal.Open(t.Context(), natsiotest.Connect(t, s).Conn(), journal.Config{Replicas: 3})
		harness.Must(t, err)
		histories[i] = history.New(j, nil, 0)
	}
	return histories, servers
}

// TestOpenTogether: engines that start for the first time at once make one journal.
func TestOpenTogether(t *testing.T) {
	servers := natsiotest.ClusterServers(t, 0)
	var opening sync.WaitGroup
	opened := make([]string, 2*len(servers))
	for i := range opened {
		nc := natsiotest.Connect(t, servers[i%len(servers)]).Conn()
		opening.Go(func() {
			j, err := journal.Open(t.Context(), nc, journal.Config{Partitions: 4, Known: []journal.Known{{Store: "new"}}})
			if err != nil {
				t.Error(err)
				return
			}
			opened[i] = j.ID()
		})
	}
	opening.Wait()
	if !t.Failed() && len(slices.Compact(opened)) > 1 {
		t.Errorf("several journals: %q", opened)
	}
}
