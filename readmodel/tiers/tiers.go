package tiers

import (
	"context"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Tiers of the read, as answers name them.
const (
	FromMemory  = "memory"
	FromKV      = "kv"
	FromSQL     = "sql"
	FromJournal = "journal"
)

// HotTier is the KV bucket.
type HotTier interface {
	// Get is the entry under a key, if there is a value.
	Get(ctx context.Context, agent, key string) (readmodel.Entry, bool, error)
	// Fill puts an entry where there is nothing; it never overwrites.
	Fill(ctx context.Context, e *readmodel.Entry) error
	// Remove takes an entry out that is not the engine's, if it is still there.
	Remove(ctx context.Context, e *readmodel.Entry) error
}

// DurableTier is SQL. Entry also says how far SQL had read when it answered.
type DurableTier interface {
	Entry(ctx context.Context, partition int, agent, key string) (e readmodel.Entry, found bool, position uint64, err error)
	Entries(ctx context.Context, partition int, agent, prefix, after string, limit int) ([]readmodel.Entry, uint64, error)
	Agents(ctx context.Context, list readmodel.AgentList) ([]readmodel.Agent, error)
	Docs(ctx context.Context, list readmodel.DocList) ([]readmodel.Doc, error)
	Inbox(ctx context.Context, list readmodel.InboxList) ([]readmodel.Message, error)
	// Held are the streams, at most limit, whose names begin so and of which
	// SQL's rows are not level, because its view cannot apply an event.
	Held(ctx context.Context, prefix string, limit int) ([]string, error)
}

// JournalTier is the journal's leader: never stale.
type JournalTier interface {
	Partition(agent string) int
	Partitions() int
	Incarnation() string
	// Last is the entry as the leader has it; found is false when it does not
	// exist, revision is then of its deletion, 0 = never written.
	Last(ctx context.Context, agent, key string) (e readmodel.Entry, found bool, revision uint64, err error)
	// After are the last states of those of an agent's entries that have an event
	// after a revision, deleted ones included.
	After(ctx context.Context, agent string, revision uint64) ([]readmodel.EntryChange, error)
}

// Awaited is a tier's progress that a reader may wait for.
type Awaited interface {
	Positions
	// Wait returns false when ctx ends before the partition has reached position.
	Wait(ctx context.Context, partition int, position uint64) bool
}

// Tiers is the tiered read: memory, then KV, then SQL, filling upwards and
// never over a newer value.
type Tiers struct {
	Memory          *Memory
	Hot             HotTier
	HotProgress     Awaited
	Durable         DurableTier // nil = without SQL
	DurableProgress Awaited
	Journal         JournalTier
	Hit             func(tier string)  // told of every answer's tier; must not block
	Missed          func(agent string) // told of every read that KV could not answer; must not block

	flights singleflight.Group
}

// Consistency says what a read may be answered from.
type Consistency string

const (
	Cached  Consistency = "cached"  // memory, KV, SQL
	Hot     Consistency = "hot"     // the same without memory
	Durable Consistency = "durable" // SQL alone
	Strong  Consistency = "strong"  // the journal's leader: never stale
)

// Answer is an entry, where it came from, and how far that place had read.
type Answer struct {
	readmodel.Entry
	Source string
	AsOf   uint64 // position of the answering tier in the entry's partition
}

// Get reads one entry at a consistency, not before the revision after. 404
// state.not_found; 503 read.behind when ctx ends before the answering tier has
// reached after.
func (t *Tiers) Get(ctx context.Context, agent, key string, c Consistency, after uint64) (Answer, error) {
	p := t.Journal.Partition(agent)
	switch c {
	case Strong:
		return t.strong(ctx, p, agent, key)
	case Durable:
		a, found, err := t.durable(ctx, p, agent, key, after)
		if err == nil && !found {
			err = NotFound(agent, key)
		}
		return t.Note(a, err)
	case Cached:
		tail := t.Memory.tail.At(p) // read first: the row is at least as new
		if row, ok := t.Memory.get(agent, key); ok {
			asOf := max(tail, row.entry.Revision)
			if asOf >= after && row.deleted {
				return Answer{}, NotFound(agent, key)
			}
			if asOf >= after {
				return t.Note(Answer{Entry: row.entry, Source: FromMemory, AsOf: asOf}, nil)
			}
		}
	}
	a, found, err := t.hot(ctx, p, agent, key, after)
	if found || err != nil {
		return t.Note(a, err)
	}
	return t.Note(t.below(ctx, p, agent, key, after))
}

func (t *Tiers) Note(a Answer, err error) (Answer, error) {
	if err == nil && t.Hit != nil {
		t.Hit(a.Source)
	}
	return a, err
}

func (t *Tiers) strong(ctx context.Context, p int, agent, key string) (Answer, error) {
	e, found, _, err := t.Journal.Last(ctx, agent, key)
	if err != nil {
		return Answer{}, Unavailable("journal", err)
	}
	if !found {
		return Answer{}, NotFound(agent, key)
	}
	return t.Note(Answer{Entry: e, Source: FromJournal, AsOf: e.Revision}, nil)
}

// hot asks the bucket; with a position to reach it waits for the view first,
// unless what it finds is new enough in itself. A bucket that does not answer
// has nothing: the next tier answers.
func (t *Tiers) hot(ctx context.Context, p int, agent, key string, after uint64) (Answer, bool, error) {
	for {
		asOf := t.HotProgress.At(p)
		e, found, err := t.Hot.Get(ctx, agent, key)
		if err != nil && ctx.Err() == nil {
			return Answer{}, false, nil
		}
		if found && e.Revision > max(asOf, t.Memory.tail.At(p)) {
			return t.doubted(ctx, p, e)
		}
		if found && e.Revision >= after || asOf >= after {
			if found {
				t.Memory.fill(p, e, asOf)
			}
			return Answer{Entry: e, Source: FromKV, AsOf: max(asOf, e.Revision)}, found, nil
		}
		if !t.HotProgress.Wait(ctx, p, after) {
			return Answer{}, false, Behind("kv", after, t.HotProgress.At(p))
		}
	}
}

// doubted holds a hot row that is newer than anything this engine has heard of
// against the journal's end: another engine may have been quicker, or a client
// has written what is not the engine's. The latter is removed.
func (t *Tiers) doubted(ctx context.Context, p int, e readmodel.Entry) (Answer, bool, error) {
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

// flightTime bounds one shared read of the lower tiers.
const flightTime = 10 * time.Second

// sqlPatience is how long a miss waits for SQL before the journal answers.
const sqlPatience = 1500 * time.Millisecond

// below answers what memory and KV do not have: SQL, checked against the
// journal's end, and KV and memory filled again. Where SQL is away, behind or
// not there, the journal itself answers, so a miss is never a stale answer.
func (t *Tiers) below(ctx context.Context, p int, agent, key string, after uint64) (Answer, error) {
	// Those who share a flight want the same position: one that began before it
	// was reached could answer with what was before.
	flight := agent + "." + key + "@" + strconv.FormatUint(after, 10)
	got, err, _ := t.flights.Do(flight, func() (any, error) {
		// The flight is shared: it must not end with the first of its callers.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTime)
		defer cancel()
		var row Answer
		tail := t.Memory.tail.At(p) // the leader's answer includes at least this
		found := false
		if t.Durable != nil {
			patient, done := context.WithTimeout(ctx, sqlPatience)
			e, ok, position, err := t.Durable.Entry(patient, p, agent, key)
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
		_ = t.Hot.Fill(ctx, &row.Entry) // the answer stands without; the next read fills
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

// durable asks SQL, waiting for it where a position must be reached.
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
		if !t.DurableProgress.Wait(ctx, p, after) {
			return Answer{}, false, Behind("sql", after, position)
		}
	}
}

// This file answers what is asked about one document. The journal's end
// carries its state, so one read of the leader is enough and never stale: a
// token is only checked, there is nothing to wait for.
