package app

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/commands/groupcommit"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
)

// journalReader is the journal with the archive behind it. All construction of
// journal, archive and history is here.
type journalReader struct {
	*journal.Journal
	stores  *deployment.Stores
	history *history.History          // journal and archive, as every component reads them
	known   atomic.Pointer[[]uint64]  // the heads when they were last read
	readAt  atomic.Pointer[time.Time] // when that was; nil = never
}

func openJournal(ctx context.Context, nc *natsgo.Conn, cfg journal.Config) (*journalReader, error) {
	j, err := journal.Open(ctx, nc, cfg)
	if err != nil {
		return nil, err
	}
	return &journalReader{Journal: j, stores: &deployment.Stores{Journal: j}}, nil
}

// useArchive adds the archive in SQL; db is nil without SQL.
func (j *journalReader) useArchive(db *pg.DB, skew time.Duration) {
	j.stores.DB, j.stores.Skew = db, skew
	j.history = j.stores.History()
}

// source is the history as a view reads it. The tables of the views durable and messages need
// every event, also the trimmed ones after a power cut; for KV, the feeds and the
// archive the events that a trim leaves are enough.
func (j *journalReader) source(view string) history.Source {
	if view == "durable" || view == durable.MessagesView {
		return j.history
	}
	return j.history.Retained()
}

// writer is the history as commands append to it. Where each append waits for
// the disk of this machine, concurrent appends share one sync (group commit).
func (j *journalReader) writer(g *guard, synced bool) history.Journal {
	if synced {
		return g.Wrap(groupcommit.New(g.Wrap(j.history), j.Partitions())) // the inner one ends rounds, the outer one waiting commands
	}
	return g.Wrap(j.history)
}

// commandIndex finds command ids beyond the duplicate window; nil without SQL.
func (j *journalReader) commandIndex() history.CommandIndex {
	if !j.history.Archived() {
		return nil
	}
	return j.history
}

// heads are the last revisions of all partitions. When the journal does not
// answer they are the last ones known, together with the error, so that a lag
// is not shown as zero.
func (j *journalReader) heads(ctx context.Context) ([]uint64, error) {
	heads := make([]uint64, j.Partitions())
	for p := range heads {
		head, err := j.Head(ctx, p)
		if err != nil {
			if known := j.known.Load(); known != nil {
				return *known, err
			}
			return heads, err
		}
		heads[p] = head
	}
	j.known.Store(&heads)
	j.readAt.Store(new(time.Now()))
	return heads, nil
}

// lastHeads are the heads when they were last read; nil = never.
func (j *journalReader) lastHeads() []uint64 {
	if known := j.known.Load(); known != nil {
		return *known
	}
	return nil
}

// headsAge is the time since the heads were last read; 0 = they never were.
func (j *journalReader) headsAge() time.Duration {
	at := j.readAt.Load()
	if at == nil {
		return 0
	}
	return time.Since(*at)
}

// intake is the subject on which the journal receives events: no client knows it.
func (j *journalReader) intake(ctx context.Context, nc *natsgo.Conn) (string, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return "", err
	}
	s, err := js.Stream(ctx, natsio.StreamName(0, j.Partitions()))
	if err != nil {
		return "", err
	}
	return strings.Join(s.CachedInfo().Config.Subjects, " "), nil
}
