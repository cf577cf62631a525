package app

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/readmodel"
)

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
	if err := x.compact(ctx); err != nil {
		return errors.Join(failed, err)
	}
	if x.e.postgres.Local != nil {
		if err := x.e.postgres.Local.DropWAL(ctx); err != nil {
			return errors.Join(failed, err)
		}
	}
	for _, p := range done {
		if err := x.keys.ClearPending(ctx, &p); err != nil {
			return errors.Join(failed, err)
		}
		x.log.Info("an erased agent has left all read models", "agent", p.Agent, "revision", p.Revision)
	}
	return failed
}

// compact removes the files of SQL that hold removed rows.
func (x *eraser) compact(ctx context.Context) error {
	db := x.e.postgres.DB
	if db == nil {
		return nil
	}
	tables, err := x.e.views.declared.Tables(ctx)
	if err != nil {
		return err
	}
	eraser := durable.NewEraser(db)
	left, err := eraser.HasShadow(ctx)
	if left && err == nil { // of a rebuild that runs, which removes it, or that was interrupted
		err = coordination.WithLock(ctx, x.e.nats.First(), "durable", eraser.DropShadow)
		if errors.Is(err, coordination.ErrLocked) {
			err = fmt.Errorf("the view durable is being rebuilt, and the new rows may hold values: %w", err)
		}
	}
	if err != nil {
		return err
	}
	return eraser.Compact(ctx, tables...)
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
	owned, err := commands.Erased(ctx, x.e.journal.history, p.Agent, p.Commands())
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
	if err := x.eraseQueued(ctx, readmodel.ErasedWith(p.Agent, owned), p.Revision); err != nil {
		return err
	}
	if x.e.postgres.DB == nil {
		return nil
	}
	erased, err := x.e.journal.history.At(ctx, p.Partition, p.Revision)
	if err != nil {
		return err
	}
	living, err := durable.LivingIn(x.e.journal.history, true)(ctx, &erased)
	if err != nil {
		return err
	}
	return durable.NewEraser(x.e.postgres.DB).Agent(ctx, &erased, living, owned)
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
func (x *eraser) eraseQueued(ctx context.Context, erased readmodel.Erased, revision uint64) error {
	letters, err := intake.OpenDeadLetters(ctx, x.e.nats.First(), x.e.nats.Subjects)
	if err != nil {
		return err
	}
	if err := letters.EraseAgent(ctx, erased); err != nil {
		return err
	}
	return intake.EraseOutcomes(ctx, x.e.nats.First(), x.e.nats.Subjects, erased, revision)
}
