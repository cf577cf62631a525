package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/servers"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	viewkv "github.com/tidemark-engine/tidemark/infra/natsio/declared"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// declaredViews runs the declared views: one engine at a time makes and drops their tables
// as the view aggregates say, every engine runs them under leases, as it runs the views of
// its own.
type declaredViews struct {
	*declared.Store
	db        *pg.DB
	buckets   *viewkv.Buckets
	views     *views
	journal   *journalReader
	log       *slog.Logger
	readiness *readiness.Readiness
	wake      chan struct{}
	leads     atomic.Bool // this engine makes and drops the tables
	// replaced is called when the live views are others; set before start.
	replaced func()

	mu      sync.Mutex
	wanted  map[string]wantedView // by name; nil = not read yet
	read    time.Time             // when wanted was read as a whole
	runs    map[int64]*declaredRun
	live    map[string]*declaredRun          // by view
	reached map[string]*projections.Progress // of the live generations, by view
	changed chan struct{}                    // closed and replaced when live changes
	behind  map[string]string                // by view: why its bucket is not written
	failed  string                           // why the last step failed
	kept    time.Time                        // when buckets without a view were looked for
	watched bool                             // the tables of earlier builds have their triggers
}

// wantedView is a view aggregate as of a revision.
type wantedView struct {
	view.View
	partition int
	revision  uint64
}

const (
	declaredPoll   = time.Second           // between two looks at the registry
	declaredBusy   = 50 * time.Millisecond // while a generation is built
	declaredReread = 30 * time.Second      // between two readings of all view aggregates
	declaredKeep   = 30 * time.Second      // between two looks for buckets without a view
	declaredStep   = 30 * time.Second      // bounds one step
)

func newDeclaredViews(nats *servers.NATS, v *views, j *journalReader, db *pg.DB, ready *readiness.Readiness, log *slog.Logger) (*declaredViews, error) {
	nc, err := nats.Connect("declared")
	if err != nil {
		return nil, err
	}
	b, err := viewkv.New(nc, nats.Embedded != nil)
	if err != nil {
		return nil, err
	}
	return &declaredViews{
		Store: declared.NewStore(db), db: db, buckets: b, views: v, journal: j, readiness: ready, log: log, behind: map[string]string{}, wake: make(chan struct{}, 1),
		runs: map[int64]*declaredRun{}, live: map[string]*declaredRun{}, reached: map[string]*projections.Progress{}, changed: make(chan struct{}),
	}, nil
}

// start follows the view aggregates until stop.
func (d *declaredViews) start() (stop func(context.Context)) {
	follow := lifecycle.InBackground(d.run)
	if d.views.leases == nil {
		d.leads.Store(true)
		return follow
	}
	lead := lifecycle.InBackground(func(ctx context.Context) {
		d.views.leases.Hold(ctx, "declared", func(ctx context.Context) {
			d.leads.Store(true)
			d.look()
			<-ctx.Done()
			d.leads.Store(false)
		})
	})
	return func(ctx context.Context) {
		follow(ctx)
		lead(ctx)
	}
}

// look makes the next step begin now.
func (d *declaredViews) look() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Changed takes what an event has made of a view aggregate.
func (d *declaredViews) Changed(kind, id string, state []byte, revision uint64) {
	if d == nil || kind != "view" {
		return
	}
	var v view.View
	if err := json.Unmarshal(state, &v); err != nil {
		d.log.Error("the definition of a view cannot be read", "view", id, "revision", revision, "error", err)
		return
	}
	d.want(id, wantedView{v, d.journal.Partition(id), revision})
	d.look()
}

func (d *declaredViews) want(name string, v wantedView) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wanted != nil && v.revision >= d.wanted[name].revision {
		d.wanted[name] = v
	}
}

// readWanted reads all view aggregates.
func (d *declaredViews) readWanted(ctx context.Context) error {
	d.mu.Lock()
	if d.wanted != nil && time.Since(d.read) < declaredReread {
		d.mu.Unlock()
		return nil
	}
	first := d.wanted == nil
	if first {
		d.wanted = map[string]wantedView{} // takes what changes while it is read
	}
	d.mu.Unlock()
	for p := range d.journal.Partitions() {
		err := d.journal.history.Range(ctx, history.Range{Partition: p, Aggregate: events.View("*"), LastOnly: true}, func(m history.Message) error {
			if m.Bad != nil {
				return m.Bad
			}
			v, err := domain.CarriedState[view.View](&m.Event)
			if err == nil {
				d.want(m.ID, wantedView{v, p, m.Revision})
			}
			return err
		})
		if err != nil {
			if first {
				d.mu.Lock()
				d.wanted = nil
				d.mu.Unlock()
			}
			return err
		}
	}
	d.mu.Lock()
	d.read = time.Now()
	d.mu.Unlock()
	return nil
}

func (d *declaredViews) run(ctx context.Context) {
	for ctx.Err() == nil {
		step, cancel := context.WithTimeout(ctx, declaredStep)
		pause, err := d.step(step)
		cancel()
		if ctx.Err() != nil {
			break
		}
		d.note(err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-d.wake:
		case <-ctx.Done():
		}
		t.Stop()
	}
	d.follow(context.WithoutCancel(ctx), nil)
}

// note logs why the views are not as they should be, once.
func (d *declaredViews) note(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && d.failed == "" {
		d.log.Warn("declared views are not as they were defined; it is tried again", "error", err)
	}
	d.failed = text
}

// step makes the tables and runners what the definitions say.
func (d *declaredViews) step(ctx context.Context) (pause time.Duration, err error) {
	for {
		if err := d.readWanted(ctx); err != nil {
			return declaredPoll, err
		}
		gs, err := d.All(ctx)
		if err != nil {
			return declaredPoll, err
		}
		d.follow(ctx, gs)
		building := false
		for i := range gs {
			building = building || !gs[i].Live
		}
		done := false
		if d.leads.Load() {
			if !d.watched {
				if err := d.Watch(ctx); err != nil {
					return declaredPoll, err
				}
				d.watched = true
			}
			done, err = d.decide(ctx, gs)
			if !done && time.Since(d.kept) > declaredKeep {
				d.kept = time.Now()
				if kept := d.keepBuckets(ctx, gs); kept != nil {
					d.kept, err = time.Time{}, errors.Join(err, kept)
				}
			}
		}
		if done {
			d.kept = time.Time{}
		}
		switch {
		case err != nil:
			return declaredPoll, err
		case done:
		case building:
			return declaredBusy, nil
		default:
			return declaredPoll, nil
		}
	}
}

// Declared implements query.DeclaredViews.
func (d *declaredViews) Declared(ctx context.Context, name string) (def view.Definition, ok bool, err error) {
	rec, ok, err := d.journal.history.Last(ctx, events.View(name), history.Linearizable)
	if err != nil || !ok {
		return def, false, err
	}
	v, err := domain.CarriedState[view.View](&rec.Event)
	if err != nil || v.Status != view.Defined {
		return def, false, err
	}
	return v.Definition, true, nil
}

// Built implements query.DeclaredViews.
func (d *declaredViews) Built(ctx context.Context, name string) (tiers.Progress, view.Definition, error) {
	for {
		d.mu.Lock()
		run, changed := d.live[name], d.changed
		d.mu.Unlock()
		if run != nil {
			return run.progress, run.g.Definition, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, view.Definition{}, domain.Errorf(domain.Unavailable, "read.behind", "the rows of view %s are being built: ask again, or with a longer wait_ms", name)
		}
	}
}
