package query

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

const (
	diffChunk = 512     // keys that are compared at a time
	wholeRoom = 8 << 10 // bytes by which the changes inside a value may exceed the value
)

// diff lists how an agent's entries differ between two points: a JSON Patch (RFC 6902) of the
// object of keys and values, and the events that caused it, key by key.
func (q *Query) diff(ctx context.Context, agent string, in *request) (*page, error) {
	from, to, err := in.span.ends()
	if err != nil {
		return nil, err
	}
	if from == nil {
		return nil, domain.MissingField("from")
	}
	head, err := q.Rows.Head(ctx, q.Rows.Partition(agent))
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	d := &agentDiff{Query: q, agent: agent, limit: in.limit, from: *from}
	if err := d.cursor.parse(in.Cursor); err != nil {
		return nil, err
	}
	switch {
	case to != nil:
		d.to, d.mixed = *to, !from.beforeAll && from.at.IsZero() != to.at.IsZero()
	case in.Cursor != "" && d.cursor.to > 0:
		d.to = pastPoint{revision: min(d.cursor.to, head)}
	default:
		d.to = pastPoint{revision: head, beforeAll: head == 0}
	}
	d.cursor.to = d.to.revision
	next, err := d.page(ctx)
	if err != nil {
		return nil, tiers.Unavailable("journal", err)
	}
	b := append([]byte(`{"from":`), in.span.from...)
	if len(in.span.to) > 0 && to != nil {
		b = append(append(b, `,"to":`...), in.span.to...)
	} else {
		b = strconv.AppendUint(append(b, `,"to":`...), d.to.revision, 10)
	}
	b = append(append(append(b, `,"patch":[`...), d.patch...), `],"events":[`...)
	return &page{rows: append(b, d.events...), source: tiers.FromJournal, cursor: next, token: tokenAt(q.Rows, q.Rows.Partition(agent), head)}, nil
}

// agentDiff makes one page.
type agentDiff struct {
	*Query
	agent         string
	from, to      pastPoint
	mixed         bool // one is a revision, the other a time
	limit         int  // of events
	cursor        diffCursor
	patch, events []byte
	listed        int
	room          readmodel.PageRoom
}

// diffCursor is where a page begins: with the events of a key from a revision on, or, with
// revision 0, after the key. to is the revision that the first page ended with; 0 = a time.
type diffCursor struct {
	to, revision uint64
	key          string
}

func (c *diffCursor) parse(text string) error {
	if text == "" {
		return nil
	}
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 || domain.CheckKey(parts[2]) != nil {
		return badCursor(text)
	}
	to, err := strconv.ParseUint(parts[0], 10, 64)
	revision, err2 := strconv.ParseUint(parts[1], 10, 64)
	if errors.Join(err, err2) != nil {
		return badCursor(text)
	}
	*c = diffCursor{to, revision, parts[2]}
	return nil
}

func (c diffCursor) String() string {
	return strconv.FormatUint(c.to, 10) + ":" + strconv.FormatUint(c.revision, 10) + ":" + c.key
}

// page compares key by key until the page is full, and returns the cursor of the next one.
func (d *agentDiff) page(ctx context.Context) (next string, err error) {
	keys, err := d.Rows.Keys(ctx, d.agent, "", "", 1<<30)
	if err != nil {
		return "", err
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		return key < d.cursor.key || key == d.cursor.key && d.cursor.revision == 0
	})
	for some := range slices.Chunk(keys, diffChunk) {
		changes, err := d.compare(ctx, some)
		if err != nil {
			return "", err
		}
		for i := range changes {
			if full, err := d.add(ctx, &changes[i]); full || err != nil {
				return d.cursor.String(), err
			}
		}
	}
	return "", nil
}

// keyChange is a key whose last events differ at the two points; nil = it had none.
type keyChange struct {
	key           string
	before, after *events.Record
}

func (d *agentDiff) compare(ctx context.Context, keys []string) (changes []keyChange, err error) {
	pattern, names := events.AgentStates(d.agent), make([]events.AggregateName, len(keys))
	for i, key := range keys {
		names[i] = events.StateEntry(d.agent, key)
	}
	var before, after []events.Record
	if !d.to.beforeAll {
		if after, err = d.Rows.ManyAsOf(ctx, pattern, names, d.to.moment()); err != nil {
			return nil, err
		}
	}
	if err := d.ordered(ctx, pattern, names, after); err != nil {
		return nil, err
	}
	ends := map[events.AggregateName]*events.Record{}
	names = names[:0]
	for i := range after {
		moment := d.from.moment()
		if d.from.beforeAll || !moment.Includes(&after[i]) {
			ends[after[i].Name], names = &after[i], append(names, after[i].Name)
		}
	}
	if !d.from.beforeAll {
		if before, err = d.Rows.ManyAsOf(ctx, pattern, names, d.from.moment()); err != nil {
			return nil, err
		}
	}
	starts := map[events.AggregateName]*events.Record{}
	for i := range before {
		starts[before[i].Name] = &before[i]
	}
	for _, name := range names {
		c := keyChange{key: ends[name].Key, before: starts[name], after: ends[name]}
		if c.before != nil && c.before.Type == events.StateSet || c.after.Type == events.StateSet {
			changes = append(changes, c)
		}
	}
	slices.SortFunc(changes, func(a, b keyChange) int { return strings.Compare(a.key, b.key) })
	return changes, nil
}

// ordered refuses a revision and a time of which the first is later: 400. Which one is, the
// entries tell.
func (d *agentDiff) ordered(ctx context.Context, pattern events.AggregateName, names []events.AggregateName, after []events.Record) error {
	if !d.mixed {
		return nil
	}
	before, err := d.Rows.ManyAsOf(ctx, pattern, names, d.from.moment())
	if err != nil {
		return err
	}
	ends := map[events.AggregateName]uint64{}
	for i := range after {
		ends[after[i].Name] = after[i].Revision
	}
	for i := range before {
		if rec := &before[i]; rec.Revision > ends[rec.Name] {
			return domain.Errorf(domain.Invalid, "body.invalid", "from is after to: it has revision %d of %s, and to has not", rec.Revision, rec.Key)
		}
	}
	return nil
}

// add adds the changes of a key and its events; full = the page ends at d.cursor.
func (d *agentDiff) add(ctx context.Context, c *keyChange) (full bool, err error) {
	after := uint64(0)
	if c.before != nil {
		after = c.before.Revision
	}
	if c.key == d.cursor.key { // its patch is in an earlier page
		after = max(after, d.cursor.revision-1)
	} else {
		patch, err := c.patch()
		if err != nil {
			return false, err
		}
		if d.listed == d.limit || d.room.Add(len(patch)) && d.listed > 0 {
			return true, nil
		}
		if len(d.patch) > 0 && len(patch) > 0 {
			d.patch = append(d.patch, ',')
		}
		d.patch = append(d.patch, patch...)
		d.cursor.key, d.cursor.revision = c.key, after+1
	}
	name := events.StateEntry(d.agent, c.key)
	err = d.Rows.Of(ctx, name, after, c.after.Revision, func(m history.Message) error {
		if m.Bad != nil {
			return m.Bad
		}
		if d.listed == d.limit || d.room.Add(0) && d.listed > 0 {
			return errFull
		}
		if d.listed++; len(d.events) > 0 {
			d.events = append(d.events, ',')
		}
		d.events = appendCause(d.events, &m.Record)
		d.cursor.revision = m.Revision + 1
		return nil
	})
	if errors.Is(err, errFull) {
		return true, nil
	}
	d.cursor.revision = 0
	return false, err
}
