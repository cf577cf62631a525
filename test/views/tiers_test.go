package views_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

const soon = 250 * time.Millisecond

func TestEachConsistencyIsAnsweredByItsTier(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		w := newWorld(t, partitions)
		for i := range 3 * partitions { // a view of an empty journal has caught up before it follows the journal
			w.set(fmt.Sprint("a", i), "first", "1")
		}
		w.start("memory", "hot", "durable")
		w.caughtUp("memory", "hot", "durable")
		for i := range 3 {
			agent, value := fmt.Sprint("a", i), fmt.Sprintf(`{ "n":%d.50 }`, i)
			r := w.set(agent, "k.l", value)
			w.from(tiers.FromMemory, agent, "k.l", tiers.Cached, r.Revision, value)
			w.from(tiers.FromKV, agent, "k.l", tiers.Hot, r.Revision, value)
			w.from(tiers.FromSQL, agent, "k.l", tiers.Durable, r.Revision, value)
			w.from(tiers.FromJournal, agent, "k.l", tiers.Strong, 0, value)
			d := w.del(agent, "k.l")
			for _, c := range []tiers.Consistency{tiers.Cached, tiers.Hot, tiers.Durable, tiers.Strong} {
				_, err := w.get(agent, "k.l", c, d.Revision, 20*time.Second)
				w.fails("state.not_found", err)
				_, err = w.get(agent, "none", c, 0, 20*time.Second)
				w.fails("state.not_found", err)
			}
		}
	}
}

func TestATokenWaitsForTheTierThatAnswers(t *testing.T) {
	for view, c := range map[string]tiers.Consistency{"hot": tiers.Hot, "durable": tiers.Durable} {
		w := newWorld(t, 1)
		w.set("a", "k", "1")
		r := w.set("a", "k", "2")
		_, err := w.get("a", "k", c, r.Revision, soon)
		w.fails("read.behind", err)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("has not reached %d", r.Revision)) {
			t.Errorf("%s: %v", view, err)
		}
		got := make(chan error, 1)
		go func() {
			a, err := w.get("a", "k", c, r.Revision, 20*time.Second)
			if err == nil && (string(a.Value) != "2" || a.AsOf < r.Revision) {
				err = fmt.Errorf("%s as of %d", a.Value, a.AsOf)
			}
			got <- err
		}()
		w.start(view)
		if err := harness.Receive(t, "an answer", got); err != nil {
			t.Errorf("%s: %v", view, err)
		}
		_, err = w.get("a", "k", c, r.Revision+1000, soon) // beyond the head
		w.fails("read.behind", err)
	}
}

func TestAMissIsAnsweredFromSQLAndFilledUpward(t *testing.T) {
	w := newWorld(t, 1)
	w.start("hot", "durable")
	w.set("a", "k", `{ "n":1.50 }`)
	w.set("a", "gone", `1`)
	w.del("a", "gone")
	w.caughtUp("hot", "durable")
	stream, err := support.JetStream(t, w.nc).Stream(t.Context(), "KV_AGENT_STATE")
	harness.Must(t, err)
	if err := stream.Purge(t.Context()); err != nil { // as if all had expired
		t.Fatal(err)
	}
	w.start("memory")
	w.caughtUp("memory")
	w.from(tiers.FromSQL, "a", "k", tiers.Cached, 0, `{ "n":1.50 }`)
	w.from(tiers.FromMemory, "a", "k", tiers.Cached, 0, `{ "n":1.50 }`)
	w.from(tiers.FromKV, "a", "k", tiers.Hot, 0, `{ "n":1.50 }`)
	_, err = w.get("a", "gone", tiers.Cached, 0, time.Second)
	w.fails("state.not_found", err)
	w.rows("hot") // the deleted entry was not filled
}

// TestAMissIsNotAnsweredFromAnOlderRow: a value that is hydrated from SQL is
// never older than an event that SQL has not applied yet.
func TestAMissIsNotAnsweredFromAnOlderRow(t *testing.T) {
	w := newWorld(t, 1)
	durable := w.run("durable", 0, nil)
	w.set("a", "k", "1")
	w.set("a", "gone", "1")
	w.caughtUp("durable")
	durable.stop()
	w.set("a", "k", "2")
	w.del("a", "gone")
	w.from(tiers.FromJournal, "a", "k", tiers.Hot, 0, "2")
	w.from(tiers.FromKV, "a", "k", tiers.Hot, 0, "2")
	_, err := w.get("a", "gone", tiers.Hot, 0, time.Second)
	w.fails("state.not_found", err)
	w.from(tiers.FromSQL, "a", "k", tiers.Durable, 0, "1") // as it is
}

func TestWithoutSQLTheJournalAnswers(t *testing.T) {
	w := newWorld(t, 1)
	w.set("a", "k", "1")
	w.set("a", "l", "1")
	w.sql(false)
	w.from(tiers.FromJournal, "a", "k", tiers.Cached, 0, "1")
	_, err := w.get("a", "k", tiers.Durable, 0, 5*time.Second)
	w.fails("sql.unavailable", err)
	w.sql(true)
	w.tiers.Durable = nil
	w.from(tiers.FromJournal, "a", "l", tiers.Cached, 0, "1")
	_, err = w.get("a", "k", tiers.Durable, 0, time.Second)
	w.fails("sql.off", err)
}

// TestMemoryKeepsNothingThatWasBehindItsStart: after a restart KV may lag
// behind the revision at which memory begins to follow the journal; memory must
// not cache such an answer.
func TestMemoryKeepsNothingThatWasBehindItsStart(t *testing.T) {
	w := newWorld(t, 1)
	hot := w.run("hot", 0, nil)
	w.set("a", "k", "1")
	w.caughtUp("hot")
	hot.stop()
	r := w.set("a", "k", "2")
	w.Close()
	w.open(0) // another process, whose KV has only the first
	w.start("memory")
	w.caughtUp("memory")
	if a, err := w.get("a", "k", tiers.Cached, 0, time.Second); err != nil {
		t.Errorf("%+v, %v", a, err)
	}
	w.start("hot")
	w.caughtUp("hot")
	w.from(tiers.FromKV, "a", "k", tiers.Cached, r.Revision, "2")
	w.from(tiers.FromMemory, "a", "k", tiers.Cached, r.Revision, "2")
}

// halting is a journal that blocks its next reader after the read.
type halting struct {
	tiers.JournalTier
	read, goOn chan struct{}
}

func (p *halting) Last(ctx context.Context, agent, key string) (readmodel.Entry, bool, uint64, error) {
	e, found, revision, err := p.JournalTier.Last(ctx, agent, key)
	select {
	case p.read <- struct{}{}:
		<-p.goOn
	default: // other readers pass
	}
	return e, found, revision, err
}

// TestAFillUnderWayDoesNotOutliveAnEviction: a write and its eviction may
// overtake a reader that is about to fill KV.
func TestAFillUnderWayDoesNotOutliveAnEviction(t *testing.T) {
	w := newWorld(t, 1)
	w.set("a", "k", "1")
	past := &halting{w.tiers.Journal, make(chan struct{}), make(chan struct{})}
	w.tiers.Journal = past
	filled := make(chan error, 1)
	go func() {
		_, err := w.get("a", "k", tiers.Hot, 0, 20*time.Second)
		filled <- err
	}()
	harness.Receive(t, "the reader", past.read)
	r := w.set("a", "k", "2")
	w.start("hot")
	w.caughtUp("hot")
	harness.Must(t, hot.NewHot(w.bucket, w.journal, w.progress["hot"]).Evict(t.Context(), "a"))
	close(past.goOn)
	if err := harness.Receive(t, "the reader's answer", filled); err != nil {
		t.Error(err)
	}
	if a, err := w.get("a", "k", tiers.Hot, r.Revision, 5*time.Second); err != nil || string(a.Value) != "2" {
		t.Errorf("with a token at %d: %s at %d from %s, %v", r.Revision, a.Value, a.Revision, a.Source, err)
	}
}

// TestReadsWithATokenUnderFire: under writes, reads, restarts of views and
// evictions a read with a token sees at least that revision, from every tier.
func TestReadsWithATokenUnderFire(t *testing.T) {
	const keys, writers, span = 4, 3, 3 * time.Second
	w := newWorld(t, 2)
	w.start("memory", "durable")
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	var wg sync.WaitGroup
	background := func(step func()) {
		wg.Go(func() {
			for ctx.Err() == nil {
				step()
			}
		})
	}
	stream, err := support.JetStream(t, w.nc).Stream(ctx, "KV_AGENT_STATE")
	harness.Must(t, err)
	wg.Go(func() { // the hot view, restarted again and again, and in the end running
		for ctx.Err() == nil {
			var all []*runner
			for p := range w.journal.Partitions() {
				all = append(all, w.run("hot", p, nil))
			}
			_ = wait.Sleep(ctx, 200*time.Millisecond)
			for _, r := range all {
				r.stop()
			}
		}
		w.start("hot")
	})
	background(func() { // keys expire from KV
		_ = wait.Sleep(ctx, 30*time.Millisecond)
		_ = stream.Purge(ctx, purgeSubject(rand.IntN(writers), rand.IntN(keys)))
	})
	sources := map[string]int{}
	var mu sync.Mutex
	for i := range writers { // each writes its own agent, so it knows what it must see
		agent, n := fmt.Sprint("a", i), 0
		background(func() {
			key, value := fmt.Sprint("k", rand.IntN(keys)), fmt.Sprint(n)
			n++
			deleted := rand.IntN(6) == 0
			r := w.set(agent, key, value)
			if deleted {
				r = w.del(agent, key)
			}
			for _, c := range []tiers.Consistency{tiers.Cached, tiers.Hot, tiers.Durable, tiers.Strong} {
				a, err := w.get(agent, key, c, r.Revision, 10*time.Second)
				switch {
				case deleted && err == nil:
					t.Errorf("%s %s %s after %d: %s at %d from %s, it is deleted", agent, key, c, r.Revision, a.Value, a.Revision, a.Source)
				case deleted:
				case err != nil || string(a.Value) != value || a.Revision != r.Revision:
					t.Errorf("%s %s %s after %d: %s at %d from %s, %v; want %s", agent, key, c, r.Revision, a.Value, a.Revision, a.Source, err, value)
				}
				mu.Lock()
				sources[a.Source]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("answers by tier: %v", sources)
	for _, tier := range []string{tiers.FromMemory, tiers.FromKV, tiers.FromSQL, tiers.FromJournal} {
		if sources[tier] == 0 {
			t.Errorf("%s never answered", tier)
		}
	}
}
