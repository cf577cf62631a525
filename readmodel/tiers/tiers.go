package tiers

import (
	"context"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Sources of an answer.
const (
	FromMemory  = "memory"
	FromKV      = "kv"
	FromSQL     = "sql"
	FromJournal = "journal"
)

// HotTier is the KV bucket.
type HotTier interface {
	// Get reads an entry; found is false when the key has no value.
	Get(ctx context.Context, agent, key string) (readmodel.Entry, bool, error)
	// Fill puts an entry where the key has no value; it never overwrites.
	Fill(ctx context.Context, e *readmodel.Entry) error
	// Remove deletes an entry that the engine has not written, if it is still there.
	Remove(ctx context.Context, e *readmodel.Entry) error
}

// DurableTier is SQL. Entry also returns the position of the view when it answered.
type DurableTier interface {
	Entry(ctx context.Context, partition int, agent, key string) (e readmodel.Entry, found bool, position uint64, err error)
	// Entries, Docs and Inbox return at most limit rows, and none after the row that a page
	// has no room for, see readmodel.PageRoom.
	Entries(ctx context.Context, partition int, agent, prefix, after string, limit int) ([]readmodel.Entry, uint64, error)
	Agents(ctx context.Context, list readmodel.AgentList) ([]readmodel.Agent, error)
	Docs(ctx context.Context, list readmodel.DocList) ([]readmodel.Doc, error)
	Inbox(ctx context.Context, list readmodel.InboxList) (readmodel.Inbox, error)
	// Find fails with a *domain.Error when find cannot be read, or takes too long.
	Find(ctx context.Context, find readmodel.EntryFind) ([]readmodel.Entry, error)
	// QuarantinedStreams returns at most limit streams with a prefix whose rows are stale because
	// the view has quarantined them.
	QuarantinedStreams(ctx context.Context, prefix string, limit int) ([]string, error)
}

// JournalTier is the leader of the journal: never stale.
type JournalTier interface {
	Partition(agent string) int
	Partitions() int
	Incarnation() string
	// Last reads the entry at the leader; found is false when it does not exist, revision is then
	// that of its deletion, 0 = never written.
	Last(ctx context.Context, agent, key string) (e readmodel.Entry, found bool, revision uint64, err error)
	// After returns the last states of an agent's entries that have an event after a revision,
	// deleted ones included.
	After(ctx context.Context, agent string, revision uint64) ([]readmodel.EntryChange, error)
}

// Progress is a tier's positions; a reader can wait for one.
type Progress interface {
	Positions
	// Wait returns false when ctx ends before the partition has reached position.
	Wait(ctx context.Context, partition int, position uint64) bool
}

// Reach waits until a tier has reached a position, without the slot of the query: 503
// read.behind when ctx ends first, 429 when too many wait.
func Reach(ctx context.Context, tier string, p Progress, partition int, position uint64) error {
	if p.At(partition) >= position {
		return nil
	}
	reached := false
	if err := wait.Idle(ctx, func(ctx context.Context) { reached = p.Wait(ctx, partition, position) }); err != nil {
		return err
	}
	if !reached {
		return Behind(tier, position, p.At(partition))
	}
	return nil
}

// Tiers reads memory, then KV, then SQL, and fills the upper tiers, never over a newer value.
type Tiers struct {
	Memory          *Memory
	Hot             HotTier
	HotProgress     Progress
	Durable         DurableTier // nil = without SQL
	DurableProgress Progress
	// MessagesProgress is that of the view messages, which fills the inboxes in SQL.
	MessagesProgress Progress
	Journal          JournalTier
	Hit              func(tier string)  // called with the source of every answer; must not block
	Missed           func(agent string) // called for every read that KV could not answer; must not block

	flights singleflight.Group
}

// Consistency says which tiers may answer a read.
type Consistency string

const (
	Cached  Consistency = "cached"  // memory, KV, SQL
	Hot     Consistency = "hot"     // the same without memory
	Durable Consistency = "durable" // SQL alone
	Strong  Consistency = "strong"  // the journal's leader: never stale
)

// Answer is an entry, its source, and how far the source had read.
type Answer struct {
	readmodel.Entry
	Source string
	AsOf   uint64 // position of the answering tier in the entry's partition
}

// Get reads one entry at a consistency, not older than the revision after. 404 state.not_found;
// 503 read.behind when ctx ends before the answering tier has reached after.
func (t *Tiers) Get(ctx context.Context, agent, key string, c Consistency, after uint64) (Answer, error) {
	p := t.Journal.Partition(agent)
	switch c {
	case Strong:
		return t.strong(ctx, agent, key)
	case Durable:
		a, found, err := t.durable(ctx, p, agent, key, after)
		if err == nil && !found {
			err = NotFound(agent, key)
		}
		return t.CountHit(a, err)
	case Cached:
		tail := t.Memory.tail.At(p) // read first: the row is at least as new
		if row, ok := t.Memory.get(agent, key); ok {
			asOf := max(tail, row.entry.Revision)
			if asOf >= after && row.deleted {
				return Answer{}, NotFound(agent, key)
			}
			if asOf >= after {
				return t.CountHit(Answer{Entry: row.entry, Source: FromMemory, AsOf: asOf}, nil)
			}
		}
	}
	a, found, err := t.hot(ctx, p, agent, key, after)
	if found || err != nil {
		return t.CountHit(a, err)
	}
	return t.CountHit(t.lowerTiers(ctx, p, agent, key, after))
}

// CountHit counts an answer by its source.
func (t *Tiers) CountHit(a Answer, err error) (Answer, error) {
	if err == nil && t.Hit != nil {
		t.Hit(a.Source)
	}
	return a, err
}

func (t *Tiers) strong(ctx context.Context, agent, key string) (Answer, error) {
	e, found, _, err := t.Journal.Last(ctx, agent, key)
	if err != nil {
		return Answer{}, Unavailable("journal", err)
	}
	if !found {
		return Answer{}, NotFound(agent, key)
	}
	return t.CountHit(Answer{Entry: e, Source: FromJournal, AsOf: e.Revision}, nil)
}

// hot reads the bucket. When the position after is required, it waits for the view, unless the
// entry itself is new enough. If the bucket does not answer, the next tier does.
func (t *Tiers) hot(ctx context.Context, p int, agent, key string, after uint64) (Answer, bool, error) {
	for {
		asOf := t.HotProgress.At(p)
		e, found, err := t.Hot.Get(ctx, agent, key)
		if err != nil && ctx.Err() == nil {
			return Answer{}, false, nil
		}
		if found && e.Revision > max(asOf, t.Memory.tail.At(p)) {
			return t.checkUnknown(ctx, e)
		}
		if found && e.Revision >= after || asOf >= after {
			if found {
				t.Memory.fill(p, e, asOf)
			}
			return Answer{Entry: e, Source: FromKV, AsOf: max(asOf, e.Revision)}, found, nil
		}
		if err := Reach(ctx, "kv", t.HotProgress, p, after); err != nil {
			return Answer{}, false, err
		}
	}
}

// checkUnknown compares a hot row that is newer than this engine's positions with the journal's
// last event: either another engine was faster, or a client has written to the bucket. The row of
// a client is removed.
func (t *Tiers) checkUnknown(ctx context.Context, e readmodel.Entry) (Answer, bool, error) {
	last, exists, revision, err := t.Journal.Last(ctx, e.Agent, e.Key)
	switch {
	case err != nil:
		return Answer{}, false, Unavailable("journal", err)
	case exists && revision == e.Revision && last.Digest == e.Digest:
		return Answer{Entry: e, Source: FromKV, AsOf: revision}, true, nil
	case revision < e.Revision:
		err = t.Hot.Remove(ctx, &e)
	}
	return Answer{Entry: last, Source: FromJournal, AsOf: revision}, exists, err
}

// flightTimeout bounds one shared read of the lower tiers.
const flightTimeout = 10 * time.Second

// sqlTimeout is how long a miss waits for SQL before the journal answers.
const sqlTimeout = 1500 * time.Millisecond

// lowerTiers answers a miss of memory and KV from SQL, checked against the journal's last event,
// and fills KV and memory. The journal answers where SQL is unavailable, behind or not configured,
// so a miss is never answered with a stale row.
func (t *Tiers) lowerTiers(ctx context.Context, p int, agent, key string, after uint64) (Answer, error) {
	// Callers share a flight only for the same position: a flight that began
	// before the position was reached could return an older row.
	flight := agent + "." + key + "@" + strconv.FormatUint(after, 10)
	got, err, _ := t.flights.Do(flight, func() (any, error) {
		// The flight is shared: it must not end with its first caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
		defer cancel()
		var row Answer
		tail := t.Memory.tail.At(p) // the leader's answer includes at least this
		found := false
		if t.Durable != nil {
			bounded, done := context.WithTimeout(ctx, sqlTimeout)
			e, ok, position, err := t.Durable.Entry(bounded, p, agent, key)
			done()
			if err == nil && ok {
				row, found = Answer{Entry: e, Source: FromSQL, AsOf: position}, true
			}
		}
		last, exists, revision, err := t.Journal.Last(ctx, agent, key)
		switch {
		case err != nil:
			return nil, Unavailable("journal", err)
		case !exists:
			t.Memory.fillMissing(p, agent, key, revision, max(revision, tail))
			return nil, NotFound(agent, key)
		case !found || row.Revision != revision:
			row = Answer{Entry: last, Source: FromJournal, AsOf: revision}
		}
		row.AsOf = max(row.AsOf, revision, tail)
		t.Memory.fill(p, row.Entry, row.AsOf)
		_ = t.Hot.Fill(ctx, &row.Entry) // a failed fill does not affect the answer; the next read fills again
		if t.Missed != nil {
			t.Missed(agent)
		}
		return row, nil
	})
	if err != nil {
		return Answer{}, err
	}
	return got.(Answer), nil
}

// durable reads SQL and waits when a position is required.
func (t *Tiers) durable(ctx context.Context, p int, agent, key string, after uint64) (Answer, bool, error) {
	if t.Durable == nil {
		return Answer{}, false, domain.Errorf(domain.Unavailable, "sql.off", "this engine runs without SQL")
	}
	for {
		e, found, position, err := t.Durable.Entry(ctx, p, agent, key)
		if err != nil {
			return Answer{}, false, Unavailable("sql", err)
		}
		if position >= after || found && e.Revision >= after {
			return Answer{Entry: e, Source: FromSQL, AsOf: max(position, e.Revision)}, found, nil
		}
		if err := Reach(ctx, "sql", t.DurableProgress, p, after); err != nil {
			return Answer{}, false, err
		}
	}
}
