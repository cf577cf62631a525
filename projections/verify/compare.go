package verify

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// tierRows are the rows of a tier and when they were read.
type tierRows struct {
	rows    map[rowKey]rowSummary
	removed time.Time // as Tier.Removed says
	at      time.Time
}

// read reads all rows of a tier.
func (t *Tier) read(ctx context.Context) (*tierRows, error) {
	found := &tierRows{rows: map[rowKey]rowSummary{}}
	err := t.Each(ctx, collect(found.rows))
	if err == nil && t.Removed != nil {
		found.removed, err = t.Removed(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Name, err)
	}
	found.at = time.Now()
	return found, nil
}

// compare reads the events appended after the heads, and compares the tiers with the fold.
func (v *Verifier) compare(ctx context.Context, heads []uint64, found []*tierRows) error {
	for i := range v.Tiers {
		if err := v.readAgain(ctx, &v.Tiers[i], found[i]); err != nil {
			return fmt.Errorf("read %s: %w", v.Tiers[i].Name, err)
		}
	}
	now, err := v.heads(ctx)
	if err != nil {
		return err
	}
	for p := range now {
		err := readRange(ctx, v.Journal, p, heads[p], now[p], func(m history.Message) error {
			v.foldEvent(InJournal, &m, v.keepLater)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i := range v.Tiers {
		v.compareTier(&v.Tiers[i], found[i])
	}
	return nil
}

// maxReadAgain bounds the rows of a tier that are read again.
const maxReadAgain = 20_000

// readAgain reads rows that differ from the fold again, one by one: the reader of all
// rows may have read from a replica that lags. A difference counts only when the
// tier confirms it.
func (v *Verifier) readAgain(ctx context.Context, t *Tier, found *tierRows) error {
	if t.Of == nil {
		return nil
	}
	rows := found.rows
	var differing []rowKey
	keeps := func(key rowKey) bool {
		_, keeps := t.Keeps[key.kind]
		return keeps && key.kind != readmodel.KindMessage && readmodel.NameOfRow(key.kind, key.name).Valid()
	}
	for key, row := range rows {
		if want, known := v.rows[key]; (!known || want.deleted || !want.equal(row)) && keeps(key) {
			differing = append(differing, key)
		}
	}
	for key, want := range v.rows {
		if _, there := rows[key]; !there && !want.deleted && keeps(key) && !v.mayLack(t, found, key, want) {
			differing = append(differing, key)
		}
	}
	if len(differing) == 0 || len(differing) > maxReadAgain {
		return nil
	}
	for _, key := range differing {
		delete(rows, key) // the losing writes of an entry come one by one
		if err := t.Of(ctx, readmodel.NameOfRow(key.kind, key.name), collect(rows)); err != nil {
			return err
		}
	}
	found.at = time.Now()
	return nil
}

// mayLack reports whether a tier need not have a row. An erasure removes messages to its agent.
func (v *Verifier) mayLack(t *Tier, found *tierRows, key rowKey, want rowSummary) bool {
	ttl := t.Keeps[key.kind]
	agent, _, _ := strings.Cut(key.name, ".")
	return ttl > 0 && found.at.Sub(want.recorded) > ttl-time.Minute ||
		t.Evicts && key.kind == readmodel.KindEntry && v.inactive[agent] ||
		key.kind == readmodel.KindMessage && (!want.recorded.Truncate(time.Microsecond).After(found.removed) || !want.recorded.After(v.erased[want.to]))
}

// collect summarizes rows as they are read.
func collect(rows map[rowKey]rowSummary) func(Row) {
	return func(r Row) {
		key := rowKey{r.Kind, r.Name}
		if r.Kind == readmodel.KindConflict {
			rows[key] = rows[key].after(&r)
		} else {
			rows[key] = summaryOf(&r)
		}
	}
}

// rowDifference returns an empty difference of a row.
func (v *Verifier) rowDifference(t *Tier, key rowKey) Difference {
	s := readmodel.NameOfRow(key.kind, key.name)
	return Difference{Tier: t.Name, Key: key.String(), Stream: s, Partition: v.Journal.Partition(s.ID())}
}

// compareTier compares a tier's rows with the fold.
func (v *Verifier) compareTier(t *Tier, found *tierRows) {
	rows := found.rows
	counts := map[string]*Counts{}
	for kind := range t.Keeps {
		counts[kind] = &Counts{}
	}
	before := len(v.report.Differences)
	for key, row := range rows {
		if counts[key.kind] == nil {
			v.differ(v.rowDifference(t, key), "%s does not keep rows of this kind", t.Name)
			continue
		}
		v.present(t, key, row, counts[key.kind])
	}
	for key, want := range v.rows {
		c := counts[key.kind]
		if _, there := rows[key]; c != nil && !there && !want.deleted {
			v.absent(t, found, key, want, c)
		}
	}
	r := TierReport{Name: t.Name, Kinds: []KindReport{}}
	entries := counts[readmodel.KindEntry]
	if entries != nil && entries.Equal == entries.Rows && entries.Equal == v.report.Entries && v.report.Digest != "" {
		r.Digest = v.report.Digest // exactly the rows of the fold
	} else {
		r.Digest = digestOf(rows)
	}
	for _, kind := range kinds {
		if c := counts[kind]; c != nil {
			r.Counts.add(c)
			r.Kinds = append(r.Kinds, KindReport{kind, *c})
		}
	}
	v.report.Tiers = append(v.report.Tiers, r)
	news := v.report.Differences[before:]
	sort.Slice(news, func(i, j int) bool { return news[i].Key < news[j].Key })
}

// present judges a row of the tier.
func (v *Verifier) present(t *Tier, key rowKey, row rowSummary, c *Counts) {
	c.Rows++
	want, known := v.rows[key]
	switch {
	case row.bad != nil:
		v.differ(v.rowDifference(t, key), "%v", row.bad)
	case known && !want.deleted && want.equal(row):
		c.Equal++
		return
	case v.equalsLater(key, row):
		c.Newer++
		return
	case !known || want.deleted:
		v.differ(v.rowDifference(t, key), "%s has it (%s), the journal does not", t.Name, row)
	default:
		v.differ(v.rowDifference(t, key), "%s says %s; the journal says %s", t.Name, row, want.as(row))
	}
	c.Differences++
}

// absent judges a row that the tier does not have.
func (v *Verifier) absent(t *Tier, found *tierRows, key rowKey, want rowSummary, c *Counts) {
	switch {
	case v.mayLack(t, found, key, want):
		c.Expired++
	case len(v.later[key]) > 0:
		c.Newer++
	default:
		v.differ(v.rowDifference(t, key), "%s does not have it; the journal says %s", t.Name, want)
		c.Differences++
	}
}

// equalsLater reports whether an event after the heads results in exactly this row.
func (v *Verifier) equalsLater(key rowKey, row rowSummary) bool {
	for _, m := range v.later[key] {
		if !m.deleted && m.equal(row) {
			return true
		}
	}
	return false
}
