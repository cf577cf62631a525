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

// compare reads the tiers, then what the journal said meanwhile, and holds one
// against the other.
func (v *Verifier) compare(ctx context.Context, heads []uint64) error {
	found := make([]map[rowKey]mark, len(v.Tiers))
	for i, t := range v.Tiers {
		rows := map[rowKey]mark{}
		if err := t.Each(ctx, collect(rows)); err != nil {
			return fmt.Errorf("read %s: %w", t.Name, err)
		}
		found[i] = rows
	}
	now, err := v.heads(ctx)
	if err != nil {
		return err
	}
	for p := range now {
		err := between(ctx, v.Journal, p, heads[p], now[p], func(m history.Message) error {
			v.event(InJournal, &m, v.keepLater)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i := range v.Tiers {
		v.tier(&v.Tiers[i], found[i])
	}
	return nil
}

// collect condenses rows as they come.
func collect(rows map[rowKey]mark) func(Row) {
	return func(r Row) {
		key := rowKey{r.Kind, r.Name}
		if r.Kind == readmodel.KindConflict {
			rows[key] = rows[key].after(&r)
		} else {
			rows[key] = markOf(&r)
		}
	}
}

// of is a difference of a row.
func (v *Verifier) of(t *Tier, key rowKey) Difference {
	s := readmodel.NameOfRow(key.kind, key.name)
	return Difference{Tier: t.Name, Key: key.String(), Stream: s, Partition: v.Journal.Partition(s.ID())}
}

// tier holds a tier's rows against the fold.
func (v *Verifier) tier(t *Tier, rows map[rowKey]mark) {
	counts := map[string]*Counts{}
	for kind := range t.Keeps {
		counts[kind] = &Counts{}
	}
	before := len(v.report.Differences)
	for key, row := range rows {
		if counts[key.kind] == nil {
			v.differ(v.of(t, key), "%s does not keep rows of this kind", t.Name)
			continue
		}
		v.present(t, key, row, counts[key.kind])
	}
	for key, want := range v.rows {
		c := counts[key.kind]
		if _, there := rows[key]; c != nil && !there && !want.deleted {
			v.absent(t, key, want, c)
		}
	}
	r := TierReport{Name: t.Name, Digest: digestOf(rows), Kinds: []KindReport{}}
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

// present judges a row that the tier has.
func (v *Verifier) present(t *Tier, key rowKey, row mark, c *Counts) {
	c.Rows++
	want, known := v.rows[key]
	switch {
	case row.bad != nil:
		v.differ(v.of(t, key), "%v", row.bad)
	case known && !want.deleted && want.equal(row):
		c.Equal++
		return
	case v.isLater(key, row):
		c.Newer++
		return
	case !known || want.deleted:
		v.differ(v.of(t, key), "%s has it (%s), the journal has not", t.Name, row)
	default:
		v.differ(v.of(t, key), "%s says %s; the journal says %s", t.Name, row, want.as(row))
	}
	c.Differences++
}

// absent judges a row that the tier does not have.
func (v *Verifier) absent(t *Tier, key rowKey, want mark, c *Counts) {
	ttl := t.Keeps[key.kind]
	agent, _, _ := strings.Cut(key.name, ".")
	switch {
	case ttl > 0 && time.Since(want.recorded) > ttl-time.Minute,
		t.Evicts && key.kind == readmodel.KindEntry && v.away[agent]:
		c.Expired++
	case len(v.later[key]) > 0:
		c.Newer++
	default:
		v.differ(v.of(t, key), "%s does not have it; the journal says %s", t.Name, want)
		c.Differences++
	}
}

// isLater tells whether the journal has said exactly this row after the heads.
func (v *Verifier) isLater(key rowKey, row mark) bool {
	for _, m := range v.later[key] {
		if !m.deleted && m.equal(row) {
			return true
		}
	}
	return false
}
