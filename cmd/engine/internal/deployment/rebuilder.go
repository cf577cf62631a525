package deployment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
)

// DeclaredViewsName is the name of all declared views together.
const DeclaredViewsName = "views"

// RebuildOrder are the views that can be rebuilt, in the order of all of them. The archive
// is first, because the others read it where the journal is trimmed.
var RebuildOrder = []string{ArchiveView, "durable", durable.MessagesView, "hot", "feeds", DeclaredViewsName}

// IsDeclared reports whether a name is that of a declared view, or of all.
func IsDeclared(view string) bool {
	return view == DeclaredViewsName || strings.HasPrefix(view, declared.ViewPrefix) && len(view) > len(declared.ViewPrefix)
}

// CheckRebuild refuses what is not a view, and the views that cannot be rebuilt.
func CheckRebuild(view string) error {
	switch {
	case slices.Contains(RebuildOrder, view) || IsDeclared(view):
		return nil
	case view == feeds.MessagesView:
		return errors.New("the stream AGENT_MESSAGES is in memory and keeps five minutes: the inboxes have the messages (engine rebuild messages)")
	case view == durable.Notifications:
		return errors.New("notifications have no rows to rebuild: they follow the durable view, also through its rebuild")
	}
	return fmt.Errorf("there is no view %q: %s, view.NAME, or all", view, strings.Join(RebuildOrder, ", "))
}

// Rebuilder rebuilds views of a running engine, beside it or inside it.
type Rebuilder struct {
	Conn     *nats.Conn // with the engine's own rights
	Stores   *Stores
	Subjects natsio.Subjects
	Embedded bool
	Accept   bool // make the present journal the view's, whichever it was folded from
	Log      *slog.Logger
	// CaughtUp waits for a running view before its rows are compared: a row that the view has
	// yet to write would be restored for nothing.
	CaughtUp func(view string) func(ctx context.Context, heads []uint64)
	Step     func(rebuild.Step)
	Detached func(schema string) error // called when the events of the previous journal were kept; nil = nothing to do
}

// RebuildPlan is what a rebuild will do; one of Shadow and Fold is there.
type RebuildPlan struct {
	View   string
	Shadow *durable.ShadowPlan
	Fold   *rebuild.FoldPlan
	Then   string // what follows the fold
}

// RebuildResult is the report of a rebuild; one of the three is there.
type RebuildResult struct {
	View     string
	Shadow   *rebuild.Rebuilt
	Reset    *rebuild.ResetReport
	Declared *RebuiltDeclared
	// Left says why rows still differ after a rebuild in place.
	Left error
}

// RebuiltDeclared is the report about one declared view.
type RebuiltDeclared struct {
	View    string  `json:"view"`
	Rows    int64   `json:"rows"`
	Seconds float64 `json:"seconds"`
}

// ErrNoSQL means that a view is in SQL, and the engine runs without.
var ErrNoSQL = errors.New("the engine runs without SQL")

// needsSQL reports whether the rows of a view are in SQL.
func needsSQL(view string) bool {
	return view == ArchiveView || view == "durable" || view == durable.MessagesView || IsDeclared(view)
}

// Plan says what Run will do with a view of RebuildOrder, or a declared one.
func (r *Rebuilder) Plan(ctx context.Context, view string) (p RebuildPlan, err error) {
	p.View = view
	if needsSQL(view) && r.Stores.DB == nil {
		return p, ErrNoSQL
	}
	if view == "durable" {
		shadow, err := durable.PlanShadow(ctx, r.Stores.DB, r.Stores.History())
		p.Shadow = &shadow
		return p, err
	}
	switch view {
	case ArchiveView:
		p.Then = "archived events that are missing or differ are written again from the journal"
	case "hot":
		p.Then = "the keys that differ are rewritten one by one; readers and watchers see every other key meanwhile"
	case "feeds":
		p.Then = "the states that AGENT_STATE lacks are published at its end; nothing is removed"
	case durable.MessagesView:
		p.Then = "messages that are missing or differ are stored again; the others keep their marks"
	default:
		p.Then = "the tables replace the live ones in one transaction; reads go on as before"
	}
	fold, err := rebuild.PlanFold(ctx, r.Stores.History())
	p.Fold = &fold
	return p, err
}

// Locked runs f while no other process rebuilds the view.
func (r *Rebuilder) Locked(ctx context.Context, view string, f func(context.Context) error) error {
	lock := view
	if IsDeclared(view) {
		lock = DeclaredViewsName
	}
	err := coordination.WithLock(ctx, r.Conn, lock, f)
	if errors.Is(err, coordination.ErrLocked) {
		err = fmt.Errorf("view %s is being rebuilt already: %w", view, err)
	}
	if errors.Is(err, history.ErrForeignJournal) {
		err = fmt.Errorf("%w; --accept-journal continues with the present journal", err)
	}
	return err
}

// Run rebuilds a view of RebuildOrder, or a declared one. The caller holds its lock.
func (r *Rebuilder) Run(ctx context.Context, view string) (*RebuildResult, error) {
	if needsSQL(view) && r.Stores.DB == nil {
		return nil, ErrNoSQL
	}
	done := &RebuildResult{View: view}
	var err error
	switch view {
	case "durable":
		done.Shadow, err = r.Stores.RebuildDurable(ctx, r.Accept, r.Step)
	case "hot":
		done.Reset, err = r.hot(ctx)
		done.left("these rows still differ: is a bucket full, or does another program write to it?")
	case ArchiveView:
		done.Reset, err = r.archive(ctx)
		done.left("these events are no longer in the journal: only an export has them (engine archive import)")
	case "feeds":
		done.Reset, err = r.feeds(ctx)
	case durable.MessagesView:
		done.Reset, err = r.Stores.rebuildMessages(ctx, r.Conn, r.Accept, r.Step)
	default:
		began := time.Now()
		var n int64
		n, err = r.Stores.rebuildDeclared(ctx, strings.TrimPrefix(view, declared.ViewPrefix), r.Accept, r.Step)
		done.Declared = &RebuiltDeclared{view, n, time.Since(began).Seconds()}
	}
	return done, err
}

func (d *RebuildResult) left(why string) {
	if d.Reset != nil && len(d.Reset.Left) > 0 {
		d.Left = errors.New(why)
	}
}

func (r *Rebuilder) hot(ctx context.Context) (*rebuild.ResetReport, error) {
	if err := r.createBuckets(ctx); err != nil {
		return nil, err
	}
	h, err := openHot(ctx, r.Conn, r.Stores.Journal)
	if err != nil {
		return nil, err
	}
	if !r.Accept {
		if err := h.resume(ctx); err != nil {
			return nil, err
		}
	}
	done, err := r.Stores.RebuildHot(ctx, h.Hot, r.CaughtUp("hot"), r.Step)
	if err != nil || !r.Accept {
		return done, err
	}
	for p, head := range done.Heads {
		h.Progress.Reset(p, head)
	}
	return done, h.MarkRebuilt(ctx)
}

// createBuckets creates the buckets that are missing.
func (r *Rebuilder) createBuckets(ctx context.Context) error {
	buckets := []hot.BucketConfig{hot.AgentStateBucket}
	for _, cfg := range DocBuckets {
		buckets = append(buckets, cfg)
	}
	for _, cfg := range buckets {
		cfg.Embedded = r.Embedded
		if _, err := hot.OpenBucket(ctx, r.Conn, cfg, r.Log); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rebuilder) archive(ctx context.Context) (*rebuild.ResetReport, error) {
	if r.Accept {
		schema, err := r.Stores.DetachArchive(ctx)
		if err != nil {
			return nil, err
		}
		if schema != "" {
			if r.Detached != nil {
				if err := r.Detached(schema); err != nil {
					return nil, err
				}
			}
			if err := rebuild.AwaitArchive(ctx, r.Stores.History(), r.Stores.Archive()); err != nil {
				return nil, err
			}
		}
	}
	return r.Stores.rebuildArchive(ctx, r.CaughtUp(ArchiveView), r.Step)
}

func (r *Rebuilder) feeds(ctx context.Context) (*rebuild.ResetReport, error) {
	streams, err := feeds.NewStreams(r.Conn, r.Subjects, r.Embedded, r.Log)
	if err != nil {
		return nil, err
	}
	view := feeds.New(streams, r.Stores.Journal)
	if r.Accept {
		if err := errors.Join(view.Accept(ctx), feeds.NewMessages(streams, r.Stores.Journal).Accept(ctx)); err != nil {
			return nil, err
		}
	}
	return view.Rebuild(ctx, r.Step)
}
