package app

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// eraser cleans KV, feeds, dead letters and SQL of erased agents, in the background.
// Pending erasures are in the key store, so that the next start continues them.
type eraser struct {
	e    *Engine
	keys *keys.Ring
	log  *slog.Logger
	wake chan struct{}

	begun map[uint64]bool // notes of the last look whose commands had not ended
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
	// lookPause is the time between two looks for what other engines have not finished.
	lookPause = 30 * time.Second
)

// Begin implements commands.Eraser.
func (x *eraser) Begin(ctx context.Context, er commands.Erasure) (interrupted []string, err error) {
	p, err := x.keys.SetPending(ctx, keys.Pending{Agent: er.Agent, Command: er.CommandID, Reason: er.Reason, Partition: er.Partition, Revision: er.Revision}, er.Answered)
	return p.Interrupted, err
}

// Clean implements commands.Eraser.
func (x *eraser) Clean(ctx context.Context, er commands.Erasure) (done bool, err error) {
	if _, err := x.Begin(ctx, er); err != nil {
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
	return lifecycle.InBackground(func(ctx context.Context) {
		var looking sync.WaitGroup
		looking.Go(func() { x.look(ctx) })
		x.run(ctx)
		looking.Wait()
	})
}

// look continues what was interrupted at the start, and from time to time what other engines
// have left.
func (x *eraser) look(ctx context.Context) {
	for all := true; ctx.Err() == nil; _ = wait.Sleep(ctx, lookPause) {
		pending, err := x.keys.EachPending(ctx)
		if err != nil {
			continue // readiness says why
		}
		x.resume(ctx, pending, all)
		if all = false; len(pending) > 0 {
			x.trigger()
		}
	}
}

// resume sends the commands again whose erasure an engine has begun and not ended: all, or
// those that were begun before the last look, since which their engine may have stopped.
func (x *eraser) resume(ctx context.Context, pending []keys.Pending, all bool) {
	seen := x.begun
	x.begun = map[uint64]bool{}
	for _, p := range pending {
		if p.Revision > 0 {
			continue
		}
		x.begun[p.Noted] = true
		if !all && !seen[p.Noted] {
			continue
		}
		x.log.Info("an interrupted erasure is continued", "agent", p.Agent, "command_id", p.Command)
		reason := cmp.Or(strings.TrimSpace(p.Reason), "not named") // earlier builds took an empty one
		body, err := json.Marshal(map[string]string{"reason": reason})
		if err == nil {
			_, err = x.e.commands.send(ctx, commands.Request{Aggregate: "agent", ID: p.Agent, Verb: "erase", CommandID: p.Command, Body: body})
		}
		if err != nil && ctx.Err() == nil {
			x.log.Warn("an interrupted erasure is not finished yet; it is retried, also when its command id is sent again", "agent", p.Agent, "command_id", p.Command, "error", err)
		}
	}
}

func (x *eraser) run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval, pause.RandomizationFactor = time.Second, time.Minute, 0.2
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.wake:
		}
		err := x.clean(ctx)
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
