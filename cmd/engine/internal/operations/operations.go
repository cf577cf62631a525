// Package operations does for people in the web console what the command line does from
// the data directory: dead letters, rebuilds, verification, SQL, the topology. It asks the
// grants of each caller; pages and sessions belong to the console.
package operations

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
	"github.com/tidemark-engine/tidemark/infra/pg/adhoc"
	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/projections"
)

// Engine is what operations use of a started engine.
type Engine struct {
	Stores       *deployment.Stores
	Managed      *local.Server // of Postgres; nil = external or off
	Subjects     natsio.Subjects
	Embedded     bool // the NATS server
	Topology     *topology.Planner
	TopologyFile string

	Connect  func(name string) (*nats.Conn, error)
	Heads    func(context.Context) ([]uint64, error)
	Views    func(heads []uint64) []projections.Status
	CaughtUp func(view string) func(context.Context, []uint64) // waits for a view

	Caller  func(account string) *identity.Caller // nil = nothing says whose an account is
	Access  func(*identity.Caller) *grants.Set
	Refused func(principal string, missing *grants.Grant)
}

// Config is known before the engine has started.
type Config struct {
	Auth   bool
	Reader string // URL of a login that can only read an external database; it has a password
	Log    *slog.Logger
}

// Operations do for people in the console what the command line does from the data
// directory. They use the engine's own rights, so each asks the caller's grants first.
type Operations struct {
	cfg    Config
	e      atomic.Pointer[Engine] // nil = it starts
	jobs   jobs
	looked looked

	mu  sync.Mutex
	nc  *nats.Conn    // nil = not opened yet
	sql *adhoc.Reader // likewise
}

var _ console.Operations = (*Operations)(nil)

// New returns operations that are refused until Start.
func New(cfg Config) *Operations {
	o := &Operations{cfg: cfg}
	o.jobs.ctx, o.jobs.cancel = context.WithCancel(context.Background())
	return o
}

// lookTime bounds each request to a server for a page.
const lookTime = 2 * time.Second

// Start permits operations on an engine that has started.
func (o *Operations) Start(e *Engine) { o.e.Store(e) }

// Stop ends the running job, and waits for it while ctx lasts.
func (o *Operations) Stop(ctx context.Context) { o.jobs.stop(ctx) }

// ready fails while the engine starts.
func (o *Operations) ready() error {
	if o.e.Load() == nil {
		return console.ErrStarting
	}
	return nil
}

// caller is who an account is; nil = a login that is not known.
func (o *Operations) caller(who console.Caller) *identity.Caller {
	if who.Account == "" {
		if o.cfg.Auth {
			return nil
		}
		return &identity.Caller{Principal: identity.Dev}
	}
	e := o.e.Load()
	if e == nil || e.Caller == nil {
		return nil
	}
	return e.Caller(who.Account)
}

// grants are the caller's; nil = none.
func (o *Operations) grants(who console.Caller) *grants.Set {
	c, e := o.caller(who), o.e.Load()
	if c == nil || e == nil {
		return nil
	}
	return e.Access(c)
}

// may fails unless the engine runs and the caller may work in an area.
func (o *Operations) may(who console.Caller, area string) error {
	if err := o.ready(); err != nil {
		return err
	}
	return o.allowed(who, grants.Action{Kind: grants.Admin, Verb: area})
}

// allowed is asked once the engine runs.
func (o *Operations) allowed(who console.Caller, a grants.Action) error {
	set := o.grants(who)
	ok, missing := set.Allows(a)
	if ok {
		return nil
	}
	name := ""
	if c := o.caller(who); c != nil {
		name = c.Principal
	}
	o.e.Load().Refused(name, &missing)
	return console.Forbidden(missing.String())
}

// actor is the name of the caller for the audit; empty in development mode.
func (o *Operations) actor(who console.Caller) string {
	if c := o.caller(who); c != nil && c.Principal != identity.Dev {
		return c.Principal
	}
	return ""
}

// record writes what an operator does into the audit, before it is done.
func (o *Operations) record(ctx context.Context, who console.Caller, action, detail string) {
	actor := o.actor(who)
	if actor == "" {
		actor = identity.Operator
	}
	nc, err := o.conn()
	if err == nil {
		var a *principals.Audit
		if a, err = principals.OpenAudit(ctx, nc, o.e.Load().Subjects); err == nil {
			err = a.Act(ctx, actor, action, detail)
		}
	}
	if err != nil {
		o.cfg.Log.Warn("console: not recorded in the audit", "actor", actor, "action", action, "error", err)
	}
}

// conn is the connection of operations, with the engine's own rights.
func (o *Operations) conn() (*nats.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.nc == nil || o.nc.IsClosed() {
		nc, err := o.e.Load().Connect("operations")
		if err != nil {
			return nil, err
		}
		o.nc = nc
	}
	return o.nc, nil
}
