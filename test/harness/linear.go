package harness

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// entryState is the state of one entry in the model that porcupine checks: a register whose
// version counts its writes.
type entryState struct {
	version uint64
	deleted bool
}

// entryOp is an operation on the register.
type entryOp struct {
	write   bool
	deletes bool
	found   bool   // of a read
	version uint64 // that the write made or the read saw
}

var register = porcupine.Model{
	Init: func() any { return entryState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, op := state.(entryState), input.(entryOp)
		switch {
		case op.write:
			return op.version == s.version+1, entryState{op.version, op.deletes}
		case op.found:
			return op.version == s.version && !s.deleted, s
		default:
			return s.version == 0 || s.deleted, s
		}
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}

// Linearizable checks with porcupine that the writes which took effect and the strong reads of
// each entry have an order that every client could have seen. A command without an answer counts
// as a write that never returned if the journal has its event. It returns the number of histories,
// one for each entry, and the entries whose history has no such order.
func (h *History) Linearizable(all []Event) (histories int, wrong []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	events := map[string]*Event{}
	for i := range all {
		if agent, _, loser := all[i].Entry(); agent != "" && !loser {
			events[all[i].CommandID] = &all[i]
		}
	}
	var began time.Time
	byEntry := map[string][]porcupine.Operation{}
	add := func(name string, invoked, returned time.Time, op entryOp, unknown bool) {
		if began.IsZero() {
			began = invoked
		}
		o := porcupine.Operation{Input: op, Call: int64(invoked.Sub(began)), Return: int64(returned.Sub(began))}
		if unknown {
			o.Return = math.MaxInt64
		}
		o.ClientId = len(byEntry[name])
		byEntry[name] = append(byEntry[name], o)
	}
	for i := range h.ops {
		op := &h.ops[i]
		e := events[op.ID]
		if e == nil {
			continue
		}
		add(op.Agent+"."+op.Key, op.Invoked, op.Returned,
			entryOp{write: true, deletes: op.Value == "", version: e.Version}, op.Outcome == Unknown)
	}
	for i := range h.reads {
		if r := &h.reads[i]; r.Strong {
			add(r.Agent+"."+r.Key, r.Invoked, r.Returned, entryOp{found: r.Found, version: r.Version}, false)
		}
	}
	h.concurrent = 0
	for name, ops := range byEntry {
		if overlap(ops) {
			h.concurrent++
		}
		if porcupine.CheckOperationsTimeout(register, ops, time.Minute) != porcupine.Ok {
			wrong = append(wrong, fmt.Sprintf("%s: no order of its %d operations explains what clients saw", name, len(ops)))
		}
	}
	return len(byEntry), wrong
}

// Concurrent returns the number of histories of the last Linearizable in which operations overlap.
func (h *History) Concurrent() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.concurrent
}

func overlap(ops []porcupine.Operation) bool {
	ops = slices.Clone(ops)
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for i := 1; i < len(ops); i++ {
		if ops[i].Call < ops[i-1].Return {
			return true
		}
	}
	return false
}
