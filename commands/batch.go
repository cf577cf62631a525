package commands

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// MaxBatch is how many commands one batch may hold (contract, section 2).
const MaxBatch = 500

// Result is the answer to one command.
type Result struct {
	Receipt Receipt
	Err     error // a *domain.Error; the receipt is then empty
}

// batchItem is one command of a batch, or why it cannot be read.
type batchItem struct {
	req Request
	err error
}

// HandleBatch executes a batch and calls done once: with a result for each
// command in order, or, if the batch cannot be read or an atomic one is refused,
// with an error whose details.index is the first command at fault. below returns
// the part of a command's subject below its root. From the id of a batch its commands without
// an id get theirs: the same batch sent again under its id takes effect once; "" = it has none.
func (h *Handler) HandleBatch(ctx context.Context, id string, body []byte, below func(subject string) string, done func([]Result, error)) {
	in, err := readBatch(body, below)
	if err != nil {
		done(nil, err)
		return
	}
	if id != "" {
		for i := range in.items {
			if req := &in.items[i].req; req.CommandID == "" {
				req.CommandID = memberID(id, i)
			}
		}
	}
	if in.atomic || len(in.require) > 0 {
		h.handleAtomic(ctx, in, done)
		return
	}
	items := in.items
	results := make([]Result, len(items))
	var open sync.WaitGroup
	open.Add(len(items))
	for i, item := range items {
		if item.err != nil {
			results[i].Err = item.err
			open.Done()
			continue
		}
		h.Handle(ctx, item.req, func(r Receipt, err error) {
			results[i] = Result{Receipt: r, Err: err}
			open.Done()
		})
	}
	go func() {
		open.Wait()
		done(results, nil)
	}()
}

// indexed adds the index of the command in its batch to an error.
func indexed(err error, i int) error {
	var known *domain.Error
	if errors.As(err, &known) {
		return known.With("index", i)
	}
	return err
}

// handleAtomic reads all commands, holds the mailboxes of all their aggregates and of the
// required ones, and executes the commands with one append.
func (h *Handler) handleAtomic(ctx context.Context, in batch, done func([]Result, error)) {
	var names []events.AggregateName
	cmds, size, err := h.readAtomic(ctx, in.items)
	if err == nil {
		err = h.permitRequire(ctx, in.require)
	}
	if err == nil {
		names, err = h.atomicAggregates(cmds, in.require)
	}
	if err == nil {
		err = h.admission.enter(ctx, false, len(cmds), size)
	}
	if err != nil {
		done(nil, err)
		return
	}
	finish := func(r []Result, err error) {
		h.admission.leave(ctx, len(cmds), size)
		done(r, err)
	}
	if h.cfg.Peers != nil {
		answer, err := h.takeAll(cmds, in.items, finish)
		if err != nil {
			finish(nil, err)
			return
		}
		finish = answer
	}
	deadline := time.Now().Add(h.cfg.Timeout)
	posted := h.mailboxes.postAll(names, func() {
		ctx, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		finish(h.executeBatch(ctx, cmds, in.require))
	})
	if !posted {
		finish(nil, domain.Errorf(domain.Unavailable, "engine.stopping", "the engine is stopping; send the same command ids again"))
	}
}

// readAtomic reads the commands of an atomic batch and returns the size of their bodies in
// bytes. The details.index of its error is the command at fault.
func (h *Handler) readAtomic(ctx context.Context, items []batchItem) (cmds []Command, size int, err error) {
	cmds = make([]Command, len(items))
	ids := map[string]bool{}
	for i, item := range items {
		cmd, req := &cmds[i], item.req
		size += len(req.Body)
		if err = item.err; err == nil {
			*cmd, err = h.read(ctx, req)
		}
		switch {
		case err != nil:
		case cmd.decide == nil:
			err = domain.Errorf(domain.Rejected, "batch.not_atomic", "%s %s is not decided by an aggregate and cannot be part of an atomic batch", req.Aggregate, req.Verb)
		case h.journal.Partition(cmd.ID) != h.journal.Partition(cmds[0].ID):
			err = domain.Errorf(domain.Rejected, "batch.partitions",
				"%s %s is in another journal partition than the first command; an atomic batch stays in one", cmd.Aggregate, cmd.ID)
		case ids[cmd.messageID()]:
			err = domain.Errorf(domain.Invalid, "batch.repeated_id", "command id %s is used twice for one aggregate", cmd.CommandID)
		}
		if err != nil {
			return nil, 0, indexed(err, i)
		}
		ids[cmd.messageID()] = true
	}
	return cmds, size, nil
}

// atomicAggregates are the aggregates of an atomic batch and of its requirements, each once.
func (h *Handler) atomicAggregates(cmds []Command, require []requirement) (names []events.AggregateName, err error) {
	seen := map[events.AggregateName]bool{}
	add := func(name events.AggregateName) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for i := range cmds {
		add(cmds[i].Name)
	}
	if len(require) > 0 { // batches that share their guards' aggregate do not conflict
		add(events.Require(cmds[0].ID))
	}
	for i := range require {
		r := &require[i]
		if h.journal.Partition(r.id) != h.journal.Partition(cmds[0].ID) {
			return nil, domain.Errorf(domain.Rejected, "require.partitions",
				"%s is in another journal partition than the commands; a requirement holds at the append of one partition only", r.name).With("index", i)
		}
		add(r.name)
	}
	return names, nil
}
