package harness

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Outcomes of an Op besides those of receipts.
const (
	Refusing = "refused"
	Unknown  = "unknown" // no answer that decides: it may have taken effect, or may yet
)

// Op is one command as its sender saw it, with all repetitions.
type Op struct {
	ID, Agent, Key    string
	Value             string    // JSON; "" = a delete
	Invoked, Returned time.Time // first sent, answered; the latter means nothing while unknown
	Outcome           string    // of the receipt, Refusing or Unknown
	Status            int       // of a refusal
	Receipt           Receipt
	Sent              int // how often
}

// Read is one answer to a get; those that failed are not kept.
type Read struct {
	Agent, Key        string
	Strong            bool
	AtLeast           uint64 // version that its token promises; 0 = none
	Invoked, Returned time.Time
	Found             bool
	Version           uint64
	Value             string
}

// History is what the clients of one test saw. It knows nothing of the engine:
// a history is right if the wire contract allows it.
type History struct {
	mu    sync.Mutex
	ops   []Op
	reads []Read
	acked int
	moved chan struct{} // closed at the next ack

	concurrent int // see Concurrent
}

func NewHistory() *History { return &History{moved: make(chan struct{})} }

// Add records a command.
func (h *History) Add(op Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
	if op.Outcome == "accepted" {
		h.acked++
		close(h.moved)
		h.moved = make(chan struct{})
	}
}

// AddRead records an answer.
func (h *History) AddRead(r Read) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = append(h.reads, r)
}

// Acked returns how many commands were accepted so far, and a channel that is
// closed at the next.
func (h *History) Acked() (int, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acked, h.moved
}

// Count returns how many commands had each outcome, refusals by status, and how
// many were sent more than once.
func (h *History) Count() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := map[string]int{"reads": len(h.reads)}
	for i := range h.ops {
		op := &h.ops[i]
		name := op.Outcome
		if name == Refusing {
			name = fmt.Sprint(op.Status)
		}
		n[name]++
		if op.Sent > 1 {
			n["sent again"]++
		}
		if op.Receipt.Replayed {
			n["replayed"]++
		}
	}
	return n
}

// Check returns everything in which the journal of state entries contradicts
// the history: an acknowledged command without its exact event, a refused one
// with an event, an event without a command, a second effect, an order that no
// client could have seen, or a read of another value.
func (h *History) Check(all []Event) (wrong []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	byCommand := map[string][]*Event{}
	byEntry := map[string][]*Event{} // changes alone, by version from 1
	all = States(all)
	for i := range all {
		e := &all[i]
		byCommand[e.CommandID] = append(byCommand[e.CommandID], e)
		if agent, key, loser := e.Entry(); !loser {
			byEntry[agent+"."+key] = append(byEntry[agent+"."+key], e)
		}
	}
	ops := map[string]*Op{}
	for i := range h.ops {
		op := &h.ops[i]
		ops[op.ID] = op
		if why := op.check(byCommand[op.ID], byEntry[op.Agent+"."+op.Key]); why != "" {
			complain("command %s on %s.%s (%s, sent %d times): %s", op.ID, op.Agent, op.Key, op.Outcome, op.Sent, why)
		}
	}
	for id, evs := range byCommand {
		if ops[id] == nil {
			complain("no client sent command %s of %s revision %d", id, evs[0].Subject, evs[0].Revision)
		}
	}
	for name, evs := range byEntry {
		for _, why := range order(evs, ops) {
			complain("%s: %s", name, why)
		}
	}
	slices.SortFunc(h.reads, func(a, b Read) int { return a.Returned.Compare(b.Returned) })
	seen := map[string][]*Read{} // strong ones, by return
	for i := range h.reads {
		r := &h.reads[i]
		name := r.Agent + "." + r.Key
		if why := r.check(byEntry[name], ops, seen[name]); why != "" {
			complain("read of %s: %s", name, why)
		}
		if r.Strong && r.Found {
			seen[name] = append(seen[name], r)
		}
	}
	return wrong
}

// check compares one command with the events that carry its id and with the
// changes of its entry.
func (op *Op) check(evs, entry []*Event) string {
	if len(evs) > 1 {
		return fmt.Sprintf("it took effect %d times, at revisions %d and %d", len(evs), evs[0].Revision, evs[1].Revision)
	}
	loser := false
	for _, e := range evs {
		var agent, key string
		if agent, key, loser = e.Entry(); agent != op.Agent || key != op.Key {
			return "its event is on " + e.Subject
		}
		if !loser && (e.Deleted() != (op.Value == "") || string(e.Data.Value) != op.Value) {
			return fmt.Sprintf("it wrote %q, the journal has %s %q", op.Value, e.Type, e.Data.Value)
		}
	}
	switch {
	case op.Outcome == "accepted" && (len(evs) == 0 || loser):
		return fmt.Sprintf("acknowledged at revision %d, and lost", op.Receipt.Revision)
	case op.Outcome == "accepted" && (evs[0].Revision != op.Receipt.Revision || evs[0].Version != op.Receipt.Version):
		return fmt.Sprintf("acknowledged at revision %d version %d, it is at %d version %d",
			op.Receipt.Revision, op.Receipt.Version, evs[0].Revision, evs[0].Version)
	case (op.Outcome == "superseded" || op.Status == 409) && (len(evs) == 0 || !loser):
		return fmt.Sprintf("a loser that is not kept as one: %v", evs)
	case op.Outcome == "superseded":
		v := op.Receipt.Version
		if v == 0 || v > uint64(len(entry)) || entry[v-1].Revision != op.Receipt.Revision {
			return fmt.Sprintf("it lost against version %d revision %d, which does not exist", v, op.Receipt.Revision)
		}
	case op.Outcome == Refusing && op.Status != 409 && len(evs) > 0:
		return fmt.Sprintf("refused with %d, and taken at revision %d", op.Status, evs[0].Revision)
	}
	return ""
}

// order checks the order of the journal: a command that was answered before
// another was sent stands before it.
func order(evs []*Event, ops map[string]*Op) (wrong []string) {
	var first *Op // of those behind, the one answered first
	for _, e := range slices.Backward(evs) {
		op := ops[e.CommandID]
		if op == nil {
			continue // reported above
		}
		if first != nil && op.Invoked.After(first.Returned) {
			wrong = append(wrong, fmt.Sprintf("%s was sent %s after %s had been answered, and stands before it",
				op.ID, op.Invoked.Sub(first.Returned), first.ID))
		}
		if op.Outcome == "accepted" && (first == nil || op.Returned.Before(first.Returned)) {
			first = op
		}
	}
	return wrong
}

// check compares one read with the versions that it may return: not older than
// its token, not from its future, and, for a strong read, not older than what
// had been answered before it began.
func (r *Read) check(evs []*Event, ops map[string]*Op, before []*Read) string {
	low, high := r.AtLeast, uint64(0)
	for _, e := range evs {
		op := ops[e.CommandID]
		if op == nil || op.Invoked.Before(r.Returned) {
			high = max(high, e.Version)
		}
		if r.Strong && op != nil && op.Outcome == "accepted" && op.Returned.Before(r.Invoked) {
			low = max(low, e.Version)
		}
	}
	for _, earlier := range before {
		if r.Strong && earlier.Returned.Before(r.Invoked) {
			low = max(low, earlier.Version)
		}
	}
	if r.Found {
		switch {
		case r.Version < low || r.Version > high:
			return fmt.Sprintf("it saw version %d, and could have seen %d to %d", r.Version, low, high)
		case evs[r.Version-1].Deleted() || string(evs[r.Version-1].Data.Value) != r.Value:
			return fmt.Sprintf("it saw version %d as %q, which is %q", r.Version, r.Value, evs[r.Version-1].Data.Value)
		}
		return ""
	}
	for v := low; v <= high; v++ {
		if v == 0 || evs[v-1].Deleted() {
			return ""
		}
	}
	return fmt.Sprintf("it saw nothing, and could have seen versions %d to %d, all of which have a value", low, high)
}
