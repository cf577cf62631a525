package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/servers"
	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/gate"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// authority decides what principals may do, counts what it refuses and records it.
type authority struct {
	store    *principals.Store
	refusals *principals.Refusals
	refused  *prometheus.CounterVec
	viewed   func(name string) (grants.Rows, bool) // what a declared view shows; nil = there is none
	strict   bool                                  // --auth on
	gate     atomic.Pointer[gate.Gate]             // nil = it does not run
}

// openAuthority opens the principals.
func (e *Engine) openAuthority(ctx context.Context) error {
	nc, err := e.nats.Connect("principals")
	if err != nil {
		return err
	}
	a := &authority{refused: e.metrics.Refused, strict: e.cfg.Authenticated()}
	if a.store, err = principals.Open(ctx, nc, e.nats.Subjects, a.changed, e.log); err != nil {
		return err
	}
	a.refusals = principals.NewRefusals(a.store.Audit, e.log)
	if err = e.openExternal(ctx, a.store); err != nil {
		return err
	}
	e.stops.Add(lifecycle.InBackground(a.store.Follow))
	e.stops.Add(lifecycle.InBackground(a.refusals.Run))
	e.authority = a
	return nil
}

// changed is called after each change of what principals may read.
func (a *authority) changed() {
	if g := a.gate.Load(); g != nil {
		g.Recheck()
	}
}

// access are the grants in force of a caller; nil = it has none. The engine itself, its
// operator and the clients of development mode may do everything. With --auth on nothing
// is granted to what clients without credentials have left, such as reminders.
func (a *authority) access(c *identity.Caller) *grants.Set {
	if c == nil || c.Principal == identity.Dev && !a.strict || c.Principal == identity.Operator {
		return grants.Unrestricted()
	}
	return a.store.Grants(c.Principal)
}

// reads is what a caller may read through the gate.
func (a *authority) reads(c *identity.Caller) gate.Access {
	return viewAccess{a.access(c), a.viewed}
}

// viewAccess is an access that also knows the buckets of declared views: a principal reads
// one as a whole, if it may read all that the view shows, or not at all.
type viewAccess struct {
	*grants.Set
	viewed func(name string) (grants.Rows, bool)
}

func (v viewAccess) bucket(stream string) bool {
	name, is := strings.CutPrefix(stream, "KV_"+view.BucketPrefix)
	if !is || v.viewed == nil {
		return false
	}
	rows, ok := v.viewed(name)
	return ok && v.Watches(rows)
}

// Unsure implements gate.Unsure: what a view shows is known once its rows are there.
func (v viewAccess) Unsure(stream string) bool {
	name, is := strings.CutPrefix(stream, "KV_"+view.BucketPrefix)
	if !is || v.Set == nil {
		return false
	}
	if v.viewed == nil {
		return true
	}
	_, known := v.viewed(name)
	return !known
}

// All implements gate.Access.
func (v viewAccess) All(stream string) bool { return v.Set.All(stream) || v.bucket(stream) }

// Some implements gate.Access.
func (v viewAccess) Some(stream string) bool { return v.Set.Some(stream) || v.bucket(stream) }

// Covers implements gate.Access.
func (v viewAccess) Covers(stream, subject string) bool {
	return v.Set.Covers(stream, subject) || v.bucket(stream)
}

// unread counts and records that the gate has refused to read a stream.
func (a *authority) unread(c *identity.Caller, missing string) {
	a.refused.WithLabelValues(string(grants.Watch)).Inc()
	a.refusals.Add(c.Principal, missing)
}

// Grants implements query.Authority.
func (a *authority) Grants(ctx context.Context) *grants.Set { return a.access(identity.From(ctx)) }

// Refuse implements query.Authority.
func (a *authority) Refuse(ctx context.Context, missing grants.Grant) error {
	name := ""
	if c := identity.From(ctx); c != nil {
		name = c.Principal
	}
	text := missing.String()
	a.refused.WithLabelValues(string(missing.Kind)).Inc()
	a.refusals.Add(name, text)
	return domain.Errorf(domain.Forbidden, "forbidden",
		"%s may not do that; the missing grant is %q: ask the operator of the engine (engine auth grant)", name, text).With("missing", text)
}

// permit implements commands.Permit.
func (a *authority) permit(ctx context.Context, action grants.Action) (commands.Condition, error) {
	set := a.Grants(ctx)
	verdict, missing := set.Decide(action)
	switch verdict {
	case grants.Yes:
		return nil, nil
	case grants.No:
		return nil, a.Refuse(ctx, missing)
	}
	return func(exists bool, agents ...string) error {
		for _, agent := range agents {
			exists = exists && set.Holds(agent)
		}
		if !exists {
			return a.Refuse(ctx, missing)
		}
		return nil
	}, nil
}

// may reports whether the sender of a request may work in an area of the engine.
func (a *authority) may(ctx context.Context, area string) bool {
	ok, _ := a.Grants(ctx).Allows(grants.Action{Kind: grants.Admin, Verb: area})
	return ok
}

// publicStatus is what every principal may know of the engine.
type publicStatus struct {
	Version    string `json:"version"`
	Ready      bool   `json:"ready"`
	Durability string `json:"durability"`
	Detail     string `json:"durability_detail"`
	Prefix     string `json:"subject_prefix,omitempty"`
}

// statusFor answers queries.engine.status: everything to those who may see it.
func (e *Engine) statusFor(ctx context.Context) ([]byte, error) {
	if e.authority.may(ctx, "status") {
		return e.statusJSON(ctx)
	}
	s := publicStatus{Version: e.version, Ready: e.readiness.Report().Ready, Prefix: e.cfg.SubjectPrefix}
	s.Durability, s.Detail = e.durability()
	return plain(s)
}

// outboxCaller is who a row of agents.outbox is from: the principal with the name of the
// SQL role that has inserted it. The rows of the engine's own role, and all rows without
// --auth, are the operator's.
func (e *Engine) outboxCaller(role string, own bool) *identity.Caller {
	if e.cfg.Auth != "on" {
		return nil
	}
	if own {
		return &identity.Caller{Principal: identity.Operator}
	}
	if role == identity.Dev || role == identity.Operator {
		role = "sql:" + role
	}
	return &identity.Caller{Principal: role}
}

const (
	auditPause = time.Second
	auditTime  = 10 * time.Second
)

// copyAudit copies the audit into agents.audit until ctx ends.
func copyAudit(db *pg.DB, a *principals.Audit, log *slog.Logger) func(context.Context) {
	step := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, auditTime)
		defer cancel()
		after, err := db.LastAudit(ctx)
		if err != nil {
			return err
		}
		return a.Read(ctx, after, func(e *principals.Entry) error {
			return db.InsertAudit(ctx, pg.AuditRow{
				Sequence: e.Sequence, RecordedAt: e.RecordedAt, Type: e.Type, Name: e.ID, Actor: e.Actor, Body: e.Body,
			})
		})
	}
	return func(ctx context.Context) {
		failed := false
		for ctx.Err() == nil {
			err := step(ctx)
			if err != nil && !failed && !errors.Is(err, context.Canceled) {
				log.Debug("the audit is not copied to SQL", "error", err)
			}
			failed = err != nil
			_ = wait.Sleep(ctx, auditPause)
		}
	}
}

// startGate lets clients read what belongs to the engine.
func (e *Engine) startGate() error {
	n, a := e.nats, e.authority
	if n.Accounts == nil {
		return nil
	}
	nc, err := n.Connect(servers.GateConnection)
	if err != nil {
		return err
	}
	cfg := gate.Config{Engine: nc, Subjects: n.Subjects, Accounts: n.Accounts, Access: a.reads, Refresh: a.store.Refresh, Refused: a.unread, Missing: grants.Reads, Rates: e.limits.Rates, Disconnect: e.disconnect(), Free: auth.Streams, Log: e.log}
	if n.Embedded != nil {
		if cfg.Dev, err = natsio.Connect(embedded.InProcess, "tidemark-gate", e.log, n.Embedded.GateOptions()...); err != nil {
			return err
		}
		e.stops.Add(func(context.Context) { cfg.Dev.Close() })
	}
	g, err := gate.Start(cfg)
	if err != nil {
		return err
	}
	a.gate.Store(g)
	e.stops.Add(func(context.Context) { g.Stop() })
	return nil
}
