package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// eraser cleans KV, feeds, dead letters and SQL of erased agents, in the background.
// Pending erasures are in the key store, so that the next start continues them.
type eraser struct {
	e    *Engine
	keys *keys.Ring
	log  *slog.Logger
	wake chan struct{}

	prepared bool
}

func (e *Engine) newEraser() *eraser {
	if e.keys == nil {
		return nil
	}
	return &eraser{e: e, keys: e.keys, log: e.log, wake: make(chan struct{}, 1)}
}

// Plaintext implements commands.Eraser.
func (x *eraser) Plaintext(ctx context.Context, partition int) (uint64, error) {
	return x.e.journal.Plaintext(ctx, partition)
}

// Cleaned implements commands.Eraser.
func (x *eraser) Cleaned(ctx context.Context, agent string) (bool, error) {
	pending, err := x.keys.IsPending(ctx, agent)
	return err == nil && !pending, err
}

const (
	// cleanWait is how long a command waits for its cleaning: most of a client's
	// usual timeout is left to it.
	cleanWait = 2 * time.Second
	cleanPoll = 20 * time.Millisecond
	// viewWait bounds how long one round of cleaning waits for the views.
	viewWait = 30 * time.Second
)

// Begin implements commands.Eraser.
func (x *eraser) Begin(ctx context.Context, er commands.Erasure) error {
	return x.keys.SetPending(ctx, keys.Pending{Agent: er.Agent, Command: er.CommandID, Reason: er.Reason, Partition: er.Partition, Revision: er.Revision})
}

// Clean implements commands.Eraser.
func (x *eraser) Clean(ctx context.Context, er commands.Erasure) (done bool, err error) {
	if err := x.Begin(ctx, er); err != nil {
		return false, err
	}
	x.trigger()
	waiting, cancel := context.WithTimeout(ctx, cleanWait)
	defer cancel()
	for {
		if done, err = x.Cleaned(waiting, er.Agent); done || wait.Sleep(waiting, cleanPoll) != nil {
			return done, nil // the erasure itself is done
		}
	}
}

func (x *eraser) trigger() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// start continues erasures that were interrupted, and cleans what is pending, now and
// whenever there is more.
func (x *eraser) start() (stop func(context.Context)) {
	x.trigger()
	return inBackground(func(ctx context.Context) {
		var resuming sync.WaitGroup
		resuming.Go(func() { x.resume(ctx) })
		x.run(ctx)
		resuming.Wait()
	})
}

// prepare does what is needed once: SQL may be unavailable at the start.
func (x *eraser) prepare(ctx context.Context) error {
	if x.e.postgres.db != nil && !x.prepared {
		if err := durable.NewEraser(x.e.postgres.db).Prepare(ctx); err != nil {
			return err
		}
	}
	x.prepared = true
	return nil
}

func (x *eraser) run(ctx context.Context) {
	pause := newErasePause()
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.wake:
		}
		err := errors.Join(x.prepare(ctx), x.clean(ctx))
		if err == nil {
			pause.Reset()
			continue
		}
		if ctx.Err() != nil {
			return
		}
		x.log.Warn("read models of erased agents are not cleaned yet; it is retried", "error", err)
		if wait.Sleep(ctx, pause.NextBackOff()) != nil {
			return
		}
		x.trigger()
	}
}

// clean cleans the read models of all pending agents, then compacts the tables once.
func (x *eraser) clean(ctx context.Context) error {
	pending, err := x.keys.EachPending(ctx)
	if err != nil || len(pending) == 0 {
		return err
	}
	var failed error
	done := pending[:0]
	for _, p := range pending {
		if p.Revision == 0 { // its command is running, or was refused after it had begun
			continue
		}
		if err := x.cleanAgent(ctx, p); err != nil {
			failed = errors.Join(failed, fmt.Errorf("agent %s: %w", p.Agent, err))
			continue
		}
		done = append(done, p)
	}
	if len(done) == 0 {
		return failed
	}
	if x.e.postgres.db != nil {
		tables, err := x.e.views.declared.Tables(ctx)
		if err != nil {
			return errors.Join(failed, err)
		}
		if err := durable.NewEraser(x.e.postgres.db).Compact(ctx, tables...); err != nil {
			return errors.Join(failed, err)
		}
	}
	if x.e.postgres.local != nil {
		if err := x.e.postgres.local.DropWAL(ctx); err != nil {
			return errors.Join(failed, err)
		}
	}
	for _, p := range done {
		if err := x.keys.ClearPending(ctx, p.Agent); err != nil {
			return errors.Join(failed, err)
		}
		x.log.Info("an erased agent has left all read models", "agent", p.Agent, "revision", p.Revision)
	}
	return failed
}

func (x *eraser) cleanAgent(ctx context.Context, p keys.Pending) error {
	waiting, cancel := context.WithTimeout(ctx, viewWait)
	defer cancel()
	for view, progress := range x.e.views.progress {
		if view != "archive" && !progress.Wait(waiting, p.Partition, p.Revision) {
			return fmt.Errorf("the view %s has not reached revision %d", view, p.Revision)
		}
	}
	if err := x.e.views.declared.await(waiting, p.Partition, p.Revision); err != nil {
		return err
	}
	owned, err := commands.Erased(ctx, x.e.journal.history, p.Agent, p.Command)
	if err != nil {
		return err
	}
	if err := x.awaitOthers(waiting, p.Partition); err != nil {
		return err
	}
	for _, b := range x.e.buckets.rows() {
		if err := b.EraseAgent(ctx, p.Agent); err != nil {
			return err
		}
	}
	if err := x.cleanOwned(ctx, owned); err != nil {
		return err
	}
	if err := x.e.buckets.cache.Clear(ctx); err != nil {
		return err
	}
	if err := x.e.streams.EraseAgent(ctx, p.Agent); err != nil {
		return err
	}
	if err := x.eraseQueued(ctx, readmodel.ErasedWith(p.Agent, owned)); err != nil {
		return err
	}
	if x.e.postgres.db == nil {
		return nil
	}
	return durable.NewEraser(x.e.postgres.db).Agent(ctx, p.Agent, p.Revision, owned)
}

// cleanParallel is how many aggregates of an agent are cleaned at a time: each takes several
// requests, and the other work of the servers must go on.
const cleanParallel = 8

// cleanOwned removes what buckets and feeds have of the tasks, sessions, reminders and claims
// of an agent.
func (x *eraser) cleanOwned(ctx context.Context, owned map[string][]string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cleanParallel)
	for kind, ids := range owned {
		for _, id := range ids {
			g.Go(func() error {
				if err := x.e.buckets.docs[kind].ErasePast(ctx, id); err != nil || kind != readmodel.KindTask {
					return err
				}
				return x.e.streams.EraseTask(ctx, id)
			})
		}
	}
	return g.Wait()
}

// awaitOthers waits until the views have reached the ends of the other partitions, where
// tasks, sessions, reminders and claims of the agent, and messages to it, may be.
func (x *eraser) awaitOthers(ctx context.Context, but int) error {
	for partition := range x.e.journal.Partitions() {
		if partition == but {
			continue
		}
		head, err := x.e.journal.Head(ctx, partition)
		if err != nil {
			return err
		}
		for view, progress := range x.e.views.progress {
			if view != "archive" && !progress.Wait(ctx, partition, head) {
				return fmt.Errorf("the view %s has not reached revision %d of partition %d", view, head, partition)
			}
		}
		if err := x.e.views.declared.await(ctx, partition, head); err != nil {
			return err
		}
	}
	return nil
}

// eraseQueued removes what dead letters and outcomes have of what was erased.
func (x *eraser) eraseQueued(ctx context.Context, erased readmodel.Erased) error {
	letters, err := intake.OpenDeadLetters(ctx, x.e.nats.first(), x.e.nats.subjects)
	if err != nil {
		return err
	}
	if err := letters.EraseAgent(ctx, erased); err != nil {
		return err
	}
	return intake.EraseOutcomes(ctx, x.e.nats.first(), x.e.nats.subjects, erased)
}
