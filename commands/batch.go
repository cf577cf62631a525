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
// the part of a command's subject below its root.
func (h *Handler) HandleBatch(ctx context.Context, body []byte, below func(subject string) string, done func([]Result, error)) {
	h.HandleBatchWithID(ctx, "", body, below, done)
}

// HandleBatchWithID is HandleBatch of a batch with an id, from which commands without an id get
// theirs: the same batch sent again under its id takes effect once. Empty = it has none.
func (h *Handler) HandleBatchWithID(ctx context.Context, id string, body []byte, below func(subject string) string, done func([]Result, error)) {
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
	items := in.items
	cmds := make([]Command, len(items))
	var names []events.AggregateName
	seen := map[events.AggregateName]bool{}
	ids, size := map[string]bool{}, 0
	for i, item := range items {
		req, cmd, err := item.req, Command{}, item.err
		size += len(req.Body)
		if err == nil {
			cmd, err = h.read(ctx, req)
		}
		if err == nil && cmd.decide == nil {
			err = domain.Errorf(domain.Rejected, "batch.not_atomic", "%s %s is not decided by an aggregate and cannot be part of an atomic batch", req.Aggregate, req.Verb)
		}
		if err == nil && h.journal.Partition(cmd.ID) != h.journal.Partition(cmds[0].ID) && i > 0 {
			err = domain.Errorf(domain.Rejected, "batch.partitions",
				"%s %s is in another journal partition than the first command; an atomic batch stays in one", cmd.Aggregate, cmd.ID)
		}
		if message := cmd.messageID(); err == nil && ids[message] {
			err = domain.Errorf(domain.Invalid, "batch.repeated_id", "command id %s is used twice for one aggregate", cmd.CommandID)
		} else {
			ids[message] = true
		}
		if err != nil {
			done(nil, indexed(err, i))
			return
		}
		if cmds[i] = cmd; !seen[cmd.Name] {
			seen[cmd.Name] = true
			names = append(names, cmd.Name)
		}
	}
	if err := h.permitRequire(ctx, in.require); err != nil {
		done(nil, err)
		return
	}
	if len(in.require) > 0 { // batches that share their guards' aggregate do not conflict
		names = append(names, events.Require(cmds[0].ID))
	}
	for i := range in.require {
		r := &in.require[i]
		if h.journal.Partition(r.id) != h.journal.Partition(cmds[0].ID) {
			done(nil, domain.Errorf(domain.Rejected, "require.partitions",
				"%s is in another journal partition than the commands; a requirement holds at the append of one partition only", r.name).With("index", i))
			return
		}
		if !seen[r.name] {
			seen[r.name] = true
			names = append(names, r.name)
		}
	}
	if err := h.admission.enter(ctx, false, len(cmds), size); err != nil {
		done(nil, err)
		return
	}
	finish := func(r []Result, err error) {
		h.admission.leave(ctx, len(cmds), size)
		done(r, err)
	}
	if h.cfg.Peers != nil {
		answer, err := h.takeAll(cmds, items, finish)
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
