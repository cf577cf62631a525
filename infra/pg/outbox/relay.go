package outbox

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// maxRunning is the number of aggregates that execute at once.
	maxRunning = 256
	// retryMin and retryMax bound the pause of an aggregate whose command must be
	// retried. It doubles.
	retryMin = 200 * time.Millisecond
	retryMax = 5 * time.Second
	// clockSkew is how far the database's clock may be ahead of the journal's.
	// Deduplication searches events from the row's creation time minus clockSkew.
	clockSkew = time.Minute
)

// relay is the relay of one engine, from taking the lease to its loss. One
// goroutine owns it; each aggregate that executes has one more.
type relay struct {
	*Outbox
	commitTimes bool // the server knows when a transaction was committed
	aggregates  map[string]*aggregate
	running     int
	finished    chan finished
	refused     bool      // the database refuses outcomes, and that is reported
	othersAt    time.Time // when startOthers may read next
}

// aggregate is an aggregate that executes or waits for a retry. Its rows are not
// read meanwhile.
type aggregate struct {
	roots   []string // its rows' subjects without the verb
	role    string   // of the first of its rows that execute
	running bool
	other   bool // it was started by startOthers
	refused bool // the database refuses the outcome of one of its rows
	retry   time.Time
	pause   time.Duration
}

// finished is what an aggregate has executed, in order; the last result may have
// to be retried.
type finished struct {
	name    string
	results []result
}

// run relays until ctx ends or the database fails.
func (r *relay) run(ctx context.Context, healthy func()) (err error) {
	defer func() {
		for r.running > 0 { // executed commands are marked
			if merr := r.settle(<-r.finished); err == nil {
				err = merr
			}
		}
	}()
	for pause := pollMin; ctx.Err() == nil; {
		started := 0
		if r.running < maxRunning {
			if started, err = r.start(ctx); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			healthy()
		}
		if r.running >= maxRunning {
			r.startOthers(ctx)
		}
		if pause = min(2*pause, pollMax); started > 0 {
			pause = pollMin
		}
		timer := time.NewTimer(pause)
		select {
		case f := <-r.finished:
			if err := r.settle(f); err != nil {
				return err
			}
			pause = pollMin
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// start reads waiting rows and starts their aggregates; it returns how many.
func (r *relay) start(ctx context.Context) (started int, err error) {
	// gofail: var outboxRead struct{}
	// return 0, context.DeadlineExceeded
	now := time.Now()
	for name, a := range r.aggregates {
		if !a.running && a.retry.Before(now.Add(-10*retryMax)) {
			delete(r.aggregates, name) // its row is gone
		}
	}
	for from := int64(math.MinInt64); ; {
		rows, err := r.readWaiting(ctx, from, r.held(now))
		if err != nil {
			return started, err
		}
		last := from
		for i := range rows {
			last = max(last, rows[i].id)
		}
		queues, order := r.queue(rows, now)
		for _, name := range order {
			r.execute(ctx, name, queues[name])
		}
		if started += len(order); len(rows) < batchRows || r.running >= maxRunning || last == math.MaxInt64 {
			return started, nil
		}
		from = last + 1
	}
}

// queue sorts rows into their aggregates, without those that execute or wait.
func (r *relay) queue(rows []row, now time.Time) (queues map[string][]row, order []string) {
	queues = map[string][]row{}
	for _, w := range rows {
		r.parseSubject(&w)
		name := w.aggregate + "." + w.aggregateID
		if a := r.aggregates[name]; a != nil && a.held(now) {
			a.add(w.root())
			continue
		}
		if queues[name] == nil {
			order = append(order, name)
		}
		queues[name] = append(queues[name], w)
	}
	return queues, order
}

// held are the roots of the aggregates whose rows need not be read.
func (r *relay) held(now time.Time) []string {
	roots := []string{}
	for _, a := range r.aggregates {
		if a.held(now) {
			roots = append(roots, a.roots...)
		}
	}
	return roots
}

func (a *aggregate) held(now time.Time) bool { return a.running || now.Before(a.retry) }

func (a *aggregate) add(root string) {
	for _, known := range a.roots {
		if known == root {
			return
		}
	}
	a.roots = append(a.roots, root)
}

// execute executes the rows of an aggregate in order. It stops at a command that
// must be retried, and at rows that were read so long ago that another engine
// may have taken the lease.
func (r *relay) execute(ctx context.Context, name string, rows []row) {
	a := r.aggregates[name]
	if a == nil {
		a = &aggregate{}
		r.aggregates[name] = a
	}
	a.running, a.other, a.role = true, false, rows[0].role
	for i := range rows {
		a.add(rows[i].root())
	}
	r.running++
	read := time.Now()
	go func() {
		f := finished{name: name}
		for i := range rows {
			if ctx.Err() != nil || time.Since(read) > leaseTTL {
				break
			}
			got := r.executeRow(ctx, &rows[i])
			if f.results = append(f.results, got); !got.done {
				break
			}
		}
		r.finished <- f
	}()
}

// settle marks what an aggregate has executed, together with what others have.
func (r *relay) settle(first finished) error {
	all := []finished{first}
	for more := true; more; {
		select {
		case f := <-r.finished:
			all = append(all, f)
		default:
			more = false
		}
	}
	r.running -= len(all)
	var results []result
	for _, f := range all {
		results = append(results, f.results...)
	}
	err := r.mark(results)
	var refused *pgconn.PgError
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	if err != nil {
		r.Log.Warn("the database refuses the outcome of an outbox row; its aggregate waits", "error", err)
	}
	now := time.Now()
	for _, f := range all {
		a := r.aggregates[f.name]
		a.running, a.refused = false, false
		if err != nil { // the database refuses one of the rows: find it
			for i := range f.results {
				a.refused = r.mark(f.results[i:i+1]) != nil || a.refused
			}
		}
		if !a.refused && (len(f.results) == 0 || f.results[len(f.results)-1].done) {
			delete(r.aggregates, f.name)
			continue
		}
		a.pause = min(max(2*a.pause, retryMin), retryMax)
		a.retry = now.Add(a.pause)
	}
	r.reportRefused(err)
	return nil
}

// reportRefused reports that rows stay without their outcome, and their end.
func (r *relay) reportRefused(err error) {
	refused := false
	for _, a := range r.aggregates {
		refused = refused || a.refused
	}
	switch {
	case refused && err != nil:
		r.report(err)
	case !refused && r.refused:
		r.report(nil)
	default:
		return
	}
	r.refused = refused
}
