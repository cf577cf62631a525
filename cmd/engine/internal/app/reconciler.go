package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/internal/readiness"
)

// reconciler compares the engine's streams, buckets and consumers with the server
// every few seconds, makes again what was removed, and has it filled again. Of the
// journal it restores settings and nothing else.
type reconciler struct {
	e   *Engine
	log *slog.Logger
	end func(context.Context)

	failed map[string]string // by part: why it could not be checked or made again; used by run only

	mu    sync.Mutex
	wrong map[string]string // by part: why it could not be checked, or what it lacks
}

const (
	reconcileInterval = 3 * time.Second
	reconcileTimeout  = 10 * time.Second // of one part
	catchUpTimeout    = 5 * time.Minute
)

func startReconciler(e *Engine) *reconciler {
	r := &reconciler{e: e, log: e.log, wrong: map[string]string{}, failed: map[string]string{}}
	r.end = lifecycle.InBackground(r.run)
	return r
}

func (r *reconciler) stop(ctx context.Context) { r.end(ctx) }

// problems has one line for each part that is not as it should be.
func (r *reconciler) problems() []string {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.DeleteFunc(slices.Sorted(maps.Values(r.wrong)), func(s string) bool { return s == "" })
	return slices.Compact(all)
}

func (r *reconciler) run(ctx context.Context) {
	parts := []struct {
		name  string
		check func(context.Context) (few []string, err error)
	}{
		{"journal", r.checkJournal}, {"topology", r.checkTopology}, {"intake", r.checkIntake},
		{"timers", func(part context.Context) ([]string, error) { return r.checkTimers(part, ctx) }}, {"quarantine", r.checkQuarantine}, {"leases", r.checkLeases},
		{"sealed", r.checkSealed},
	}
	tick := time.NewTicker(reconcileInterval)
	defer tick.Stop()
	for {
		for _, p := range parts {
			// gofail: var reconcile struct{}
			partCtx, cancel := context.WithTimeout(ctx, reconcileTimeout)
			few, err := p.check(partCtx)
			cancel()
			if ctx.Err() != nil {
				return
			}
			r.report(p.name, err)
			if err != nil {
				few = append(few, err.Error())
			}
			r.note(p.name, strings.Join(few, "; "))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// report says in the readiness what cannot be checked or made again: what depends on it is
// late or missing.
func (r *reconciler) report(part string, err error) {
	delete(r.failed, part)
	if err != nil {
		r.failed[part] = part + ": " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	level := readiness.OK
	if len(r.failed) > 0 {
		level = readiness.Degraded
	}
	r.e.readiness.Set("streams", level, strings.Join(slices.Sorted(maps.Values(r.failed)), "; "))
}

// note remembers what is wrong with a part and logs a change.
func (r *reconciler) note(part, wrong string) {
	r.mu.Lock()
	before := r.wrong[part]
	r.wrong[part] = wrong
	r.mu.Unlock()
	switch {
	case wrong == before:
	case wrong == "":
		r.log.Info("streams and buckets are as they should be again", "part", part)
	default:
		r.log.Warn("streams or buckets are not as they should be", "part", part, "reason", wrong)
	}
}

// checkJournal restores the settings of the journal, and looks at the number of replicas;
// a start raises it.
func (r *reconciler) checkJournal(ctx context.Context) (few []string, err error) {
	restored, err := r.e.journal.KeepSettings(ctx)
	if err != nil {
		return nil, err
	}
	if len(restored) > 0 {
		r.log.Error("another program has changed settings of the journal, with which it loses events; they are restored", "settings", strings.Join(restored, ", "))
	}
	js, err := jetstream.New(r.e.nats.First())
	if err != nil {
		return nil, err
	}
	n := r.e.journal.Partitions()
	for p := range n {
		s, err := js.Stream(ctx, natsio.StreamName(p, n))
		if err != nil {
			return few, fmt.Errorf("stream %s: %w", natsio.StreamName(p, n), err)
		}
		if less := natsio.Few(s.CachedInfo()); less != "" {
			few = append(few, less+"; the next start of an engine gives it more when three servers are up")
		}
	}
	return few, nil
}

func (r *reconciler) checkTopology(ctx context.Context) ([]string, error) {
	plan, applied, remade, err := r.e.topology.planner.Restore(ctx)
	for i := range applied {
		s := &applied[i]
		r.log.Warn("topology: "+string(s.Kind)+" "+s.Name+" was removed or changed by another program; it is made again", "action", s.Action, "reason", s.Reason)
	}
	for _, b := range r.e.buckets.docs { // of which the document may not have every one
		made, berr := b.Ensure(ctx)
		if made {
			remade = append(remade, "KV_"+b.Name())
		}
		err = errors.Join(err, berr)
	}
	r.refill(remade)
	if err != nil {
		return nil, fmt.Errorf("compare with the topology: %w", err)
	}
	var down []string
	for i := range plan.Steps {
		if s := &plan.Steps[i]; s.Offline() {
			down = append(down, string(s.Kind)+" "+s.Name+": "+s.Reason)
		}
	}
	return down, nil
}

// refill lets the views write again what the streams have lost.
func (r *reconciler) refill(remade []string) {
	for _, stream := range remade {
		view := ""
		switch {
		case stream == feeds.AgentState, stream == feeds.TaskExecution:
			view = "feeds"
		case stream == feeds.AgentMessages:
			view = feeds.MessagesView
		case stream == "KV_"+r.e.buckets.entries.Name():
			view = "hot"
		}
		for kind := range r.e.buckets.docs {
			if stream == "KV_"+deployment.DocBuckets[kind].Name {
				view = "hot"
			}
		}
		if view == "" {
			r.log.Warn("a stream was removed; its messages are lost", "stream", stream)
			continue
		}
		r.log.Warn("a stream was removed; its view writes it again from the journal", "stream", stream, "view", view)
		r.e.views.reload(view, "stream "+stream+" was removed; it is written again")
	}
}

func (r *reconciler) checkIntake(ctx context.Context) ([]string, error) {
	remade, few, err := r.e.intake.Check(ctx)
	for _, stream := range remade {
		r.log.Error("a stream was removed and is made again; the messages that it held are lost", "stream", stream)
	}
	return few, err
}

// checkTimers looks within ctx; what it then does has more time, until running ends.
func (r *reconciler) checkTimers(ctx, running context.Context) ([]string, error) {
	lost, few, err := r.e.clock.timers.Check(ctx)
	if lost {
		r.log.Error("the stream TIMERS was removed and is made again")
	}
	if err == nil {
		err = r.catchUp(ctx, running)
	}
	return some(few), err
}

// catchUp does what the reactors have missed, or what was lost of what they did: while
// the engine was away too.
func (r *reconciler) catchUp(ctx, running context.Context) error {
	consumers, err := r.e.intake.ReactorConsumers(ctx)
	if err != nil {
		return err
	}
	armed, err := r.e.clock.timers.Armed(ctx, consumers)
	if err != nil || armed {
		return err
	}
	ctx, cancel := context.WithTimeout(running, catchUpTimeout)
	defer cancel()
	return r.e.clock.timers.Arm(ctx, consumers, func(ctx context.Context) error {
		n, err := r.e.clock.rearm(ctx)
		if err == nil {
			r.log.Info("the timers of all unfinished tasks and reminders and of held claims are set", "timers", n)
			err = r.e.clock.resumeOpen(ctx)
		}
		return err
	})
}

func (r *reconciler) checkQuarantine(ctx context.Context) ([]string, error) {
	lost, few, err := r.e.quarantine.Check(ctx)
	if lost {
		r.log.Error("the bucket of quarantined aggregates was removed; it is made again with the entries that this engine knows")
	}
	return some(few), err
}

func (r *reconciler) checkLeases(ctx context.Context) ([]string, error) {
	if r.e.views.leases == nil {
		return nil, nil
	}
	return nil, r.e.views.leases.Ensure(ctx)
}

func some(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
