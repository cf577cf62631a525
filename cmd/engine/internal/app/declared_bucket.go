package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain/view"
	viewkv "github.com/tidemark-engine/tidemark/infra/natsio/declared"
	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/readmodel/query"
)

var _ query.DeclaredViews = (*declaredViews)(nil)

const (
	pumpBatch = 500
	pumpPace  = 100 * time.Millisecond // between two writes, so that rows that change often are written once
	pumpPoll  = 250 * time.Millisecond // for changes that another engine has written
	pumpCheck = 2 * time.Second        // between two looks whether the bucket is there
	pumpTime  = 30 * time.Second       // bounds one look or one batch
)

// pump writes the rows of a view into its bucket until ctx ends, in the engine that leads.
// The table knows which rows the bucket lacks, so a crash loses none.
func (d *declaredViews) pump(ctx context.Context, name string, wake <-chan struct{}) {
	b := d.buckets.Of(view.BucketPrefix + name)
	led, checked := false, time.Time{}
	defer d.late(name, nil)
	for ctx.Err() == nil {
		more := false
		if d.leads.Load() {
			var err error
			if !led || time.Since(checked) > pumpCheck {
				err = d.checkBucket(ctx, name, b, led)
				led, checked = err == nil, time.Now()
			}
			if err == nil {
				more, err = d.writeBucket(ctx, name, b)
			}
			if ctx.Err() == nil {
				d.late(name, err)
			}
		} else {
			led = false
			d.late(name, nil)
		}
		if more {
			continue
		}
		_ = wait.Sleep(ctx, pumpPace)
		t := time.NewTimer(pumpPoll)
		select {
		case <-wake:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// late says in the readiness which views have rows that their buckets lack, and why.
func (d *declaredViews) late(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.behind[name]; known == (err != nil) {
		return
	}
	if err == nil {
		delete(d.behind, name)
	} else {
		d.log.Warn("the bucket of a declared view cannot be written; it is tried again", "view", name, "error", err)
		d.behind[name] = "the bucket of view " + name + " is behind: " + withoutServers(err)
	}
	level := readiness.OK
	if len(d.behind) > 0 {
		level = readiness.Degraded
	}
	d.readiness.Set("views.buckets", level, strings.Join(slices.Sorted(maps.Values(d.behind)), "; "))
}

// withoutServers is what of an error names no server, user or statement.
func withoutServers(err error) string {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Description
	}
	return "a store does not answer, or refuses; the log has the cause"
}

// checkBucket makes the bucket if it is missing, and notes what it lacks: everything after
// it was removed or purged, and at the start what a crash of the server has lost.
func (d *declaredViews) checkBucket(ctx context.Context, name string, b *viewkv.Bucket, led bool) error {
	ctx, cancel := context.WithTimeout(ctx, pumpTime)
	defer cancel()
	lacks, err := b.Ensure(ctx)
	if err != nil || led && !lacks {
		return err
	}
	stored, err := b.All(ctx)
	if err != nil {
		return err
	}
	shot, ok, err := d.Snapshot(ctx, name)
	if err != nil || !ok {
		return err
	}
	var keys []string
	for _, m := range shot.Differ(stored, b.Largest()) {
		keys = append(keys, m.Key)
	}
	if len(keys) == 0 {
		return nil
	}
	return d.Lacks(ctx, name, keys)
}

// writeBucket writes some rows that the bucket lacks, and reports whether there may be more.
func (d *declaredViews) writeBucket(ctx context.Context, name string, b *viewkv.Bucket) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pumpTime)
	defer cancel()
	pending, err := d.Pending(ctx, name, pumpBatch)
	if err != nil || len(pending) == 0 {
		return false, err
	}
	keys := make([]string, len(pending))
	for i, p := range pending {
		keys[i] = p.Key
	}
	seqs, err := b.Sequences(ctx, keys) // before the rows
	if err != nil {
		return false, err
	}
	found, known, err := d.Rows(ctx, name, keys)
	if err != nil || !known {
		return false, err
	}
	rows := make([][]byte, len(keys))
	for i, key := range keys {
		rows[i] = found[key]
	}
	// gofail: var declaredPump struct{}
	written, err := b.Put(ctx, keys, seqs, rows)
	var done []declared.Pending
	for i, ok := range written {
		if ok {
			done = append(done, pending[i])
		}
	}
	return err == nil && len(pending) == pumpBatch, errors.Join(err, d.Written(ctx, name, done))
}

// keepBuckets removes the buckets of views that have none any more.
func (d *declaredViews) keepBuckets(ctx context.Context, gs []declared.Generation) error {
	var names []string
	for i := range gs {
		if g := &gs[i]; g.Definition.In(view.KV) && !slices.Contains(names, g.Definition.Bucket()) {
			names = append(names, g.Definition.Bucket())
		}
	}
	return d.buckets.Keep(ctx, names)
}

// shown is what a view shows that has rows; ok is false if there is none.
func (d *declaredViews) shown(name string) (rows grants.Rows, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	run, ok := d.live[name]
	if !ok {
		return rows, false
	}
	def := &run.g.Definition
	return grants.Rows{From: def.From, Agents: def.Agents, Keys: def.Keys}, true
}
