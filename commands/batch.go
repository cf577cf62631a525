package commands

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

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

// batchBody is the body of commands.batch.
type batchBody struct {
	Atomic   bool `json:"atomic"`
	Commands []struct {
		Subject string         `json:"subject"`
		ID      string         `json:"id"`
		Body    jsontext.Value `json:"body"`
	} `json:"commands"`
}

// HandleBatch executes a batch and calls done once: with a result for each
// command in order, or, if the batch cannot be read or an atomic one is refused,
// with an error whose details.index is the first command at fault. split splits
// a command's subject; ok is false when it is not one.
func (h *Handler) HandleBatch(ctx context.Context, body []byte, split func(subject string) (aggregate, id, verb string, ok bool),
	done func([]Result, error)) {
	var in batchBody
	if err := domain.DecodeBody(body, &in); err != nil {
		done(nil, err)
		return
	}
	if n := len(in.Commands); n == 0 || n > MaxBatch {
		done(nil, domain.Errorf(domain.Invalid, "batch.size", "a batch holds 1 to %d commands, this has %d", MaxBatch, n))
		return
	}
	reqs := make([]Request, len(in.Commands))
	results := make([]Result, len(reqs))
	for i, c := range in.Commands {
		aggregate, id, verb, ok := split(c.Subject)
		if !ok {
			results[i].Err = domain.Errorf(domain.NotFound, "command.unknown", "%.256q is not <aggregate>.<id>.<verb>", c.Subject)
		}
		if !ok && in.Atomic {
			done(nil, indexed(results[i].Err, i))
			return
		}
		reqs[i] = Request{Aggregate: aggregate, ID: id, Verb: verb, CommandID: c.ID, Body: c.Body}
	}
	if in.Atomic {
		h.handleAtomic(ctx, reqs, done)
		return
	}
	var open sync.WaitGroup
	open.Add(len(reqs))
	for i, req := range reqs {
		if results[i].Err != nil {
			open.Done()
			continue
		}
		h.Handle(ctx, req, func(r Receipt, err error) {
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

// handleAtomic reads all commands, holds the mailboxes of all their aggregates,
// and executes the commands with one append.
func (h *Handler) handleAtomic(ctx context.Context, reqs []Request, done func([]Result, error)) {
	now := h.cfg.Now()
	cmds := make([]Command, len(reqs))
	var names []events.AggregateName
	seen := map[events.AggregateName]bool{}
	ids, size := map[string]bool{}, 0
	for i, req := range reqs {
		size += len(req.Body)
		cmd, err := read(req, now, h.cfg.Bounds)
		if err == nil && cmd.decide == nil {
			err = domain.Errorf(domain.Rejected, "batch.not_atomic", "%s %s is not decided by an aggregate and cannot be part of an atomic batch", req.Aggregate, req.Verb)
		}
		if err == nil && h.journal.Partition(cmd.ID) != h.journal.Partition(cmds[0].ID) && i > 0 {
			err = domain.Errorf(domain.Rejected, "batch.partitions",
				"%s %s is in another journal partition than the first command; an atomic batch stays in one", cmd.Aggregate, cmd.ID)
		}
		if message := MessageID(cmd.Name, cmd.CommandID); err == nil && ids[message] {
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
	if err := h.admission.enter(len(cmds), size); err != nil {
		done(nil, err)
		return
	}
	finish := func(r []Result, err error) {
		h.admission.leave(len(cmds), size)
		done(r, err)
	}
	deadline := time.Now().Add(h.cfg.Timeout)
	posted := h.mailboxes.postAll(names, func() {
		ctx, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		finish(h.executeBatch(ctx, cmds))
	})
	if !posted {
		finish(nil, domain.Errorf(domain.Unavailable, "engine.stopping", "the engine is stopping; send the same command ids again"))
	}
}
