package app

import (
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// readModel is what queries read: memory, then KV, then SQL, and the history
// for earlier states.
type readModel struct {
	memory          *tiers.Memory
	tail            *projections.Progress // of memory
	hot             *hot.Hot
	hotProgress     *projections.Progress
	durable         *durable.View // nil without SQL
	durableProgress *projections.Progress
	inboxProgress   *projections.Progress // of the view messages
	rows            query.Rows
	hydrator        *tiers.Hydrator
	tiers           *tiers.Tiers
}

// newReadModel wires the tiers. An agent whose entry was read from below KV counts as active.
func newReadModel(e *Engine) *readModel {
	j := e.journal
	progress := func() *projections.Progress { return projections.NewProgress(j.Partitions()) }
	m := &readModel{tail: progress(), hotProgress: progress(), durableProgress: progress(), inboxProgress: progress(), rows: query.Rows{History: j.history}}
	m.memory = tiers.NewMemory(tiers.MemoryConfig{Partitions: j.Partitions(), Bytes: e.limits.RowBytes(), Tail: m.tail})
	m.hot = hot.NewHot(e.buckets.entries, j.Journal, m.hotProgress)
	for kind, bucket := range e.buckets.docs {
		m.hot.AddBucket(kind, bucket)
	}
	m.hot.Quarantined = e.quarantine.of("hot")
	m.hydrator = &tiers.Hydrator{Journal: m.rows, Hot: m.hot, DurableProgress: m.durableProgress}
	m.tiers = &tiers.Tiers{
		Memory: m.memory, Hot: m.hot, HotProgress: m.hotProgress, DurableProgress: m.durableProgress, MessagesProgress: m.inboxProgress,
		Journal: m.rows, Hit: e.metrics.Hit, Missed: e.commands.missed,
	}
	if db := e.postgres.DB; db != nil {
		m.durable = durable.New(db, "durable")
		m.durable.Living = durable.LivingIn(j.history, false)
		m.tiers.Durable, m.hydrator.Durable = m.durable, m.durable
	}
	return m
}

// writeThrough puts an event that this engine has appended into memory before
// its command is answered, so that the client's next read here sees it.
func (m *readModel) writeThrough(rec events.Record) {
	if rec.Type != events.StateSet && rec.Type != events.StateDeleted {
		return
	}
	if change, err := readmodel.EntryOf(&rec); err == nil {
		m.memory.Apply(rec.Partition, change.Entry, change.Deleted)
	}
}
