package projections

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sort"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Verify folds the journal anew and holds the tiers against it. It reads only,
// and works under live writers: rows newer than where the fold began are held
// against what the journal has said meanwhile.

// Tier is one read model as Verify reads it.
type Tier struct {
	Name string
	// Each yields every row; bad is set where a row contradicts itself.
	Each func(ctx context.Context, yield func(e readmodel.Entry, bad error)) error
	// TTL is the age at which rows may be absent; 0 = never.
	TTL time.Duration
}

// Difference is one thing that is not as the journal says.
type Difference struct {
	Tier string `json:"tier"` // "journal", "kv", "sql"
	Key  string `json:"key"`  // "<agent>.<key>", or the stream
	What string `json:"what"` // what each side says
}

// TierReport is what Verify found in one tier.
type TierReport struct {
	Name        string `json:"name"`
	Rows        int    `json:"rows"`
	Equal       int    `json:"equal"`
	Newer       int    `json:"newer"`   // written meanwhile, and equal to what the journal says of them
	Expired     int    `json:"expired"` // absent, older than the tier's TTL
	Differences int    `json:"differences"`
	Digest      string `json:"digest"`
}

// Report is what Verify found.
type Report struct {
	Events      int          `json:"events"`
	Aggregates  int          `json:"aggregates"`
	Entries     int          `json:"entries"` // living state entries
	Heads       []uint64     `json:"heads"`
	Digest      string       `json:"digest"` // of the fold, comparable with the tiers' when nothing is written meanwhile
	Tiers       []TierReport `json:"tiers"`
	Differences []Difference `json:"differences"`
}

// OK tells whether everything is as the journal says.
func (r *Report) OK() bool { return len(r.Differences) == 0 }

// Verifier is one verification.
type Verifier struct {
	Source Source
	Tiers  []Tier
	// Reached waits until the tiers have come to the heads, or says which has
	// not; it is called once, between the fold and the tiers.
	Reached func(ctx context.Context, heads []uint64) []Difference
	// Step is told how far the fold is, now and then.
	Step func(events int)

	report  Report
	chains  map[events.Stream]link
	rows    map[string]mark   // at the heads, by "<agent>.<key>"
	later   map[string][]mark // after the heads
	cursors []Cursor
}

type link struct {
	version uint64
	digest  string
}

// mark is a row, condensed.
type mark struct {
	revision, version uint64
	digest            string
	value             [16]byte
	deleted           bool
	recorded          time.Time
	bad               error // the row contradicts itself
}

func markOf(e *readmodel.Entry, deleted bool) mark {
	sum := sha256.Sum256(e.Value)
	m := mark{revision: e.Revision, version: e.Version, digest: e.Digest, deleted: deleted, recorded: e.UpdatedAt}
	copy(m.value[:], sum[:])
	return m
}

func (m mark) equal(o mark) bool {
	return m.revision == o.revision && m.version == o.version && m.digest == o.digest && m.value == o.value
}

func (m mark) String() string {
	if m.deleted {
		return fmt.Sprintf("deleted at version %d, revision %d", m.version, m.revision)
	}
	return fmt.Sprintf("version %d, revision %d, digest %.12s, value %x", m.version, m.revision, m.digest, m.value[:6])
}

// Run verifies.
func (v *Verifier) Run(ctx context.Context) (*Report, error) {
	v.chains, v.rows, v.later = map[events.Stream]link{}, map[string]mark{}, map[string][]mark{}
	v.report.Differences = []Difference{}
	defer func() {
		for _, c := range v.cursors {
			c.Stop()
		}
	}()
	heads, err := v.heads(ctx)
	if err != nil {
		return nil, err
	}
	v.report.Heads = heads
	for p, head := range heads {
		cur, err := v.Source.Read(ctx, p, 0)
		if err != nil {
			return nil, err
		}
		v.cursors = append(v.cursors, cur)
		if err := v.fold(ctx, p, 0, head, v.keep); err != nil {
			return nil, err
		}
	}
	v.report.Aggregates = len(v.chains)
	v.report.Digest, v.report.Entries = digestOf(v.rows)
	if v.Reached != nil {
		v.report.Differences = append(v.report.Differences, v.Reached(ctx, heads)...)
	}
	if err := v.compare(ctx, heads); err != nil {
		return nil, err
	}
	return &v.report, nil
}

func (v *Verifier) heads(ctx context.Context) ([]uint64, error) {
	heads := make([]uint64, v.Source.Partitions())
	for p := range heads {
		var err error
		if heads[p], err = v.Source.Head(ctx, p); err != nil {
			return nil, err
		}
	}
	return heads, nil
}

// fold reads a partition from after from up to head.
func (v *Verifier) fold(ctx context.Context, p int, from, head uint64, keep func(key string, m mark)) error {
	for at := from; at < head; {
		select {
		case m, ok := <-v.cursors[p].Messages():
			if !ok {
				return fmt.Errorf("the journal's reader ended: %w", v.cursors[p].Err())
			}
			at = m.Revision
			v.report.Events++
			if v.Step != nil && v.report.Events%10000 == 0 {
				v.Step(v.report.Events)
			}
			v.event(&m, keep)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// event checks one event's place in its aggregate's chain and keeps its row.
func (v *Verifier) event(m *Message, keep func(string, mark)) {
	if m.Bad != nil {
		v.differ("journal", string(m.Stream), "revision %d cannot be read: %v", m.Revision, m.Bad)
		return
	}
	last := v.chains[m.Stream]
	digest, err := events.Chain(last.digest, &m.Event)
	switch {
	case err != nil:
		v.differ("journal", string(m.Stream), "revision %d: %v", m.Revision, err)
	case m.Version != last.version+1:
		v.differ("journal", string(m.Stream), "revision %d has version %d where %d follows: an event is missing", m.Revision, m.Version, last.version+1)
	case digest != m.Digest:
		v.differ("journal", string(m.Stream), "revision %d (version %d) has digest %.12s, its content and its past say %.12s: an event was changed", m.Revision, m.Version, m.Digest, digest)
	}
	v.chains[m.Stream] = link{m.Version, m.Digest}
	if m.Type != events.StateSet && m.Type != events.StateDeleted {
		return
	}
	change, err := EntryOf(&m.Record)
	if err != nil {
		v.differ("journal", string(m.Stream), "revision %d: %v", m.Revision, err)
		return
	}
	keep(change.Agent+"."+change.Key, markOf(&change.Entry, change.Deleted))
}

func (v *Verifier) keep(key string, m mark)      { v.rows[key] = m }
func (v *Verifier) keepLater(key string, m mark) { v.later[key] = append(v.later[key], m) }

func (v *Verifier) differ(tier, key, format string, args ...any) {
	v.report.Differences = append(v.report.Differences, Difference{Tier: tier, Key: key, What: fmt.Sprintf(format, args...)})
}

// compare reads the tiers, then what the journal said meanwhile, and holds one
// against the other.
func (v *Verifier) compare(ctx context.Context, heads []uint64) error {
	found := make([]map[string]mark, len(v.Tiers))
	for i, t := range v.Tiers {
		found[i] = map[string]mark{}
		err := t.Each(ctx, func(e readmodel.Entry, bad error) {
			m := markOf(&e, false)
			m.bad = bad
			found[i][e.Agent+"."+e.Key] = m
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", t.Name, err)
		}
	}
	now, err := v.heads(ctx)
	if err != nil {
		return err
	}
	for p := range now {
		if err := v.fold(ctx, p, heads[p], now[p], v.keepLater); err != nil {
			return err
		}
	}
	for i, t := range v.Tiers {
		v.tier(t, found[i])
	}
	return nil
}

func (v *Verifier) tier(t Tier, rows map[string]mark) {
	before := len(v.report.Differences)
	r := TierReport{Name: t.Name, Rows: len(rows)}
	r.Digest, _ = digestOf(rows)
	for key, row := range rows {
		want, known := v.rows[key]
		switch {
		case row.bad != nil:
			v.differ(t.Name, key, "%v", row.bad)
		case known && !want.deleted && want.equal(row):
			r.Equal++
		case v.isLater(key, row):
			r.Newer++
		case !known || want.deleted:
			v.differ(t.Name, key, "%s has it (%s), the journal has not", t.Name, row)
		default:
			v.differ(t.Name, key, "%s says %s; the journal says %s", t.Name, row, want)
		}
	}
	for key, want := range v.rows {
		if _, there := rows[key]; there || want.deleted {
			continue
		}
		switch {
		case t.TTL > 0 && time.Since(want.recorded) > t.TTL-time.Minute:
			r.Expired++
		case len(v.later[key]) > 0:
			r.Newer++
		default:
			v.differ(t.Name, key, "%s does not have it; the journal says %s", t.Name, want)
		}
	}
	r.Differences = len(v.report.Differences) - before
	v.report.Tiers = append(v.report.Tiers, r)
}

// isLater tells whether the journal has said exactly this row after the heads.
func (v *Verifier) isLater(key string, row mark) bool {
	for _, m := range v.later[key] {
		if !m.deleted && m.equal(row) {
			return true
		}
	}
	return false
}

// digestOf is one digest over living rows in the order of their keys.
func digestOf(rows map[string]mark) (digest string, living int) {
	keys := make([]string, 0, len(rows))
	for key, m := range rows {
		if !m.deleted {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	h := sha256.New()
	for _, key := range keys {
		m := rows[key]
		fmt.Fprintf(h, "%s %d %d %s %x\n", key, m.version, m.revision, m.digest, m.value)
	}
	return hex.EncodeToString(h.Sum(nil)), len(keys)
}
