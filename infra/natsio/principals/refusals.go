package principals

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// Refusals gathers what was refused, so that who is refused much writes little: at most
// one event in refusalPause for each principal.
type Refusals struct {
	audit *Audit
	log   *slog.Logger
	pause time.Duration

	mu      sync.Mutex
	waiting map[string]*refused
}

type refused struct {
	since    time.Time
	total    int
	missing  map[string]int // by missing grant
	reported time.Time
}

const (
	refusalPause = time.Minute
	refusalTick  = 250 * time.Millisecond
	// maxMissing is how many missing grants an event names. The others are counted.
	maxMissing = 20
	// maxRefused bounds the principals that are remembered.
	maxRefused = 10_000
	auditTime  = 10 * time.Second
)

// NewRefusals returns a collector that writes to an audit while it runs.
func NewRefusals(a *Audit, log *slog.Logger) *Refusals {
	return &Refusals{audit: a, log: log, pause: refusalPause, waiting: map[string]*refused{}}
}

// Add counts a refusal. It does no I/O.
func (r *Refusals) Add(principal, missing string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if principal == "" {
		principal = "-"
	}
	w := r.waiting[principal]
	if w == nil {
		if len(r.waiting) >= maxRefused {
			return
		}
		w = &refused{}
		r.waiting[principal] = w
	}
	if w.total == 0 {
		w.since, w.missing = time.Now().UTC(), map[string]int{}
	}
	w.total++
	if _, named := w.missing[missing]; named || len(w.missing) < maxMissing {
		w.missing[missing]++
	}
}

// Run writes events until ctx ends, and then those that wait.
func (r *Refusals) Run(ctx context.Context) {
	tick := time.NewTicker(refusalTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.flush(ctx, time.Now().Add(-r.pause))
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTime/5)
			defer cancel()
			r.flush(last, time.Now())
			return
		}
	}
}

// flush writes an event for each principal without one since before.
func (r *Refusals) flush(ctx context.Context, before time.Time) {
	r.mu.Lock()
	due := map[string]refused{}
	for name, w := range r.waiting {
		switch {
		case w.reported.After(before):
		case w.total == 0:
			delete(r.waiting, name)
		default:
			due[name] = *w
			w.total, w.missing, w.reported = 0, nil, time.Now()
		}
	}
	r.mu.Unlock()
	for name, w := range due {
		if err := r.write(ctx, name, &w); err != nil {
			r.log.Warn("refusals cannot be recorded", "principal", name, "refusals", w.total, "error", err)
		}
	}
}

func (r *Refusals) write(ctx context.Context, principal string, w *refused) error {
	ctx, cancel := context.WithTimeout(ctx, auditTime)
	defer cancel()
	data, err := json.Marshal(struct {
		Since   time.Time      `json:"since"`
		Total   int            `json:"total"`
		Missing map[string]int `json:"missing"`
	}{w.since, w.total, w.missing})
	if err != nil {
		return err
	}
	subject := "refusal.other" // the role of an outbox row may have any name
	if nameForm.MatchString(principal) {
		subject = "refusal.principal." + principal
	}
	_, err = r.audit.append(ctx, subject, func(*Entry) (*events.Event, error) {
		return &events.Event{Type: Refused, Aggregate: "principal", ID: principal, Actor: principal, Data: data}, nil
	})
	return err
}
