package taskqueue

import (
	"cmp"
	"container/heap"
	"slices"
)

// entry is a task that waits, or one that this engine is claiming or has claimed: it is
// then in no line until the journal's event says what became of it.
type entry struct {
	id, kind, agent string // agent: only it may claim the task; empty = any
	priority        int
	created         int64  // Unix nanoseconds
	notBefore       int64  // Unix nanoseconds; 0 = now
	revision        uint64 // of the event that this is from
	line            *line
	preloaded       bool
	place           int // in line, or in the heap of those that are too early
}

// before is the order of claims: priority, age, id.
func (e *entry) before(o *entry) bool {
	return cmp.Or(cmp.Compare(o.priority, e.priority), cmp.Compare(e.created, o.created), cmp.Compare(e.id, o.id)) < 0
}

func (e *entry) bytes() int { return 256 + len(e.id) + len(e.kind) + len(e.agent) }

// entries is a heap whose first entry is the least by less.
type entries struct {
	all  []*entry
	less func(a, b *entry) bool
}

func (h *entries) Len() int           { return len(h.all) }
func (h *entries) Less(i, j int) bool { return h.less(h.all[i], h.all[j]) }
func (h *entries) Swap(i, j int) {
	h.all[i], h.all[j] = h.all[j], h.all[i]
	h.all[i].place, h.all[j].place = i, j
}

func (h *entries) Push(x any) {
	e := x.(*entry)
	e.place = len(h.all)
	h.all = append(h.all, e)
}

func (h *entries) Pop() any {
	last := len(h.all) - 1
	e := h.all[last]
	h.all[last] = nil
	h.all = h.all[:last]
	return e
}

// line holds the claimable tasks of one kind for one agent.
type line struct {
	entries
	group *group
	kind  string
	place int // in the group
}

// group holds the lines for one agent, ordered by their first tasks. No line is empty.
type group struct {
	agent string
	kinds map[string]*line
	order []*line
}

func (g *group) Len() int           { return len(g.order) }
func (g *group) Less(i, j int) bool { return g.order[i].all[0].before(g.order[j].all[0]) }
func (g *group) Swap(i, j int) {
	g.order[i], g.order[j] = g.order[j], g.order[i]
	g.order[i].place, g.order[j].place = i, j
}

func (g *group) Push(x any) {
	l := x.(*line)
	l.place = len(g.order)
	g.order = append(g.order, l)
}

func (g *group) Pop() any {
	last := len(g.order) - 1
	l := g.order[last]
	g.order[last] = nil
	g.order = g.order[:last]
	return l
}

// index finds the first claimable task for an agent and a kind in logarithmic time.
type index struct {
	groups map[string]*group // by agent
	count  int
	bytes  int
}

func (x *index) push(e *entry) {
	g := x.groups[e.agent]
	if g == nil {
		g = &group{agent: e.agent, kinds: map[string]*line{}}
		x.groups[e.agent] = g
	}
	l := g.kinds[e.kind]
	if e.line = l; l == nil {
		l = &line{entries: entries{less: (*entry).before}, group: g, kind: e.kind}
		e.line, g.kinds[e.kind] = l, l
		heap.Push(&l.entries, e)
		heap.Push(g, l)
	} else {
		heap.Push(&l.entries, e)
		heap.Fix(g, l.place)
	}
	x.count, x.bytes = x.count+1, x.bytes+e.bytes()
}

func (x *index) remove(e *entry) {
	l := e.line
	heap.Remove(&l.entries, e.place)
	e.line = nil
	x.count, x.bytes = x.count-1, x.bytes-e.bytes()
	if g := l.group; l.Len() > 0 {
		heap.Fix(g, l.place)
	} else {
		x.dropLine(l)
	}
}

func (x *index) dropLine(l *line) {
	g := l.group
	heap.Remove(g, l.place)
	if delete(g.kinds, l.kind); len(g.order) == 0 {
		delete(x.groups, g.agent)
	}
}

// first is the task to claim next by an agent, of a kind or, if that is empty, of any;
// nil = there is none.
func (x *index) first(kind, agent string) *entry {
	var best *entry
	for _, owner := range [...]string{agent, ""} {
		g := x.groups[owner]
		if g == nil {
			continue
		}
		l := g.order[0]
		if kind != "" {
			l = g.kinds[kind]
		}
		if l != nil && (best == nil || l.all[0].before(best)) {
			best = l.all[0]
		}
	}
	return best
}

// shrink takes the last tenth off the longest line, but not its first task, and returns it.
func (x *index) shrink() []*entry {
	var longest *line
	for _, g := range x.groups {
		for _, l := range g.order {
			if longest == nil || l.Len() > longest.Len() {
				longest = l
			}
		}
	}
	if longest == nil || longest.Len() < 2 {
		return nil
	}
	slices.SortFunc(longest.all, func(a, b *entry) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for i, e := range longest.all { // a sorted slice is a heap
		e.place = i
	}
	keep := longest.Len() - 1 - longest.Len()/10
	off := slices.Clone(longest.all[keep:])
	clear(longest.all[keep:])
	longest.all = longest.all[:keep]
	for _, e := range off {
		e.line = nil
		x.count, x.bytes = x.count-1, x.bytes-e.bytes()
	}
	return off
}
