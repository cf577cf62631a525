package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// Outbox relays the commands in agents.outbox while this engine holds the lease.
// It executes the rows of one aggregate in the order of their commits, and
// different aggregates concurrently.
//
// Each command takes effect once: deduplication by command id recognises a row
// that was executed but not marked, however long ago.
type Outbox struct {
	DB        *pg.DB
	Prefix    string // of subjects, ending in a dot; optional in a row's subject
	BodyBytes int    // longer bodies are not read, and refused
	Handle    func(ctx context.Context, req commands.Request, done func(commands.Receipt, error))
	// Caller is who a row of an SQL role is from; own = the engine's own role. nil = all
	// rows are the engine's.
	Caller func(role string, own bool) *identity.Caller
	// Report is called with why rows are not relayed, and with nil when they are; nil =
	// nothing is.
	Report func(err error)
	Log    *slog.Logger

	holder string // of the lease
}

const (
	// pollMin and pollMax bound the time between two reads. It starts at pollMin
	// after a read that found rows, and doubles.
	pollMin = 5 * time.Millisecond
	pollMax = 100 * time.Millisecond
	// standbyInterval is the time between two attempts to take the lease.
	standbyInterval = time.Second
)

var errTaken = errors.New("another engine holds it")

func orTaken(err error) error {
	if err == nil {
		return errTaken
	}
	return err
}

// Run relays until ctx ends; it finishes and marks commands in progress.
func (o *Outbox) Run(ctx context.Context) {
	o.holder = ulid.Make().String()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 2*time.Second
	healthy := true
	well := func() {
		if healthy {
			return
		}
		healthy = true
		o.Log.Info("outbox relay recovered")
		o.report(nil)
	}
	for ctx.Err() == nil {
		err := o.relayWhileHeld(ctx, func() {
			pause.Reset()
			well()
		})
		if ctx.Err() != nil {
			return
		}
		next := standbyInterval // another engine relays
		if err != nil {
			if next = pause.NextBackOff(); healthy {
				o.Log.Warn("outbox relay failed, retrying", "error", err)
			}
			healthy = false
			o.report(err)
		} else {
			well()
		}
		_ = wait.Sleep(ctx, next) // the loop ends with ctx
	}
}

func (o *Outbox) report(err error) {
	if o.Report != nil {
		o.Report(err)
	}
}

// relayWhileHeld relays while this engine holds the lease; it returns nil at once
// when another engine holds it.
func (o *Outbox) relayWhileHeld(ctx context.Context, healthy func()) error {
	l, err := o.takeLease(ctx)
	if err != nil || l == nil {
		return err
	}
	defer l.release()
	r := &relay{Outbox: o, aggregates: map[string]*aggregate{}, finished: make(chan finished, maxRunning)}
	if err := o.DB.Pool().QueryRow(ctx, `SELECT current_setting('track_commit_timestamp')::boolean`).Scan(&r.commitTimes); err != nil {
		return fmt.Errorf("read a setting: %w", err)
	}
	held, lost := context.WithCancelCause(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		l.keep(held, lost)
	}()
	err = r.run(held, healthy)
	if r.refused { // another engine may relay from now on
		o.report(nil)
	}
	if ctx.Err() == nil && held.Err() != nil {
		err = context.Cause(held)
	}
	lost(nil)
	<-kept
	return err
}
