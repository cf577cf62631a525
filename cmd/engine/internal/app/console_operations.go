package app

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	"github.com/tidemark-engine/tidemark/infra/pg/adhoc"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// consoleOperations do for people in the console what the command line does from the data
// directory. They use the engine's own rights, so each asks the caller's grants first.
type consoleOperations struct {
	e      *Engine
	jobs   jobs
	looked looked

	mu  sync.Mutex
	nc  *nats.Conn    // nil = not opened yet
	sql *adhoc.Reader // likewise
}

var _ console.Operations = (*consoleOperations)(nil)

func newConsoleOperations(e *Engine) *consoleOperations {
	o := &consoleOperations{e: e}
	o.jobs.ctx, o.jobs.cancel = context.WithCancel(context.Background())
	return o
}

// ready fails while the engine starts.
func (o *consoleOperations) ready() error {
	if !o.e.assembled.Load() {
		return console.ErrStarting
	}
	return nil
}

// caller is who an account is; nil = a login that is not known.
func (o *consoleOperations) caller(who console.Caller) *identity.Caller {
	if who.Account == "" {
		if o.e.cfg.Authenticated() {
			return nil
		}
		return &identity.Caller{Principal: identity.Dev}
	}
	// Only a server with JWTs has checked who signed the credentials.
	if o.e.nats.accounts == nil || o.e.nats.embedded == nil && o.e.nats.mode != auth.OperatorMode {
		return nil
	}
	return o.e.nats.accounts.Caller(who.Account)
}

// grants are the caller's; nil = none.
func (o *consoleOperations) grants(who console.Caller) *grants.Set {
	c := o.caller(who)
	if c == nil {
		return nil
	}
	return o.e.authority.access(c)
}

// may fails unless the engine runs and the caller may work in an area.
func (o *consoleOperations) may(who console.Caller, area string) error {
	if err := o.ready(); err != nil {
		return err
	}
	return o.allowed(who, grants.Action{Kind: grants.Admin, Verb: area})
}

func (o *consoleOperations) allowed(who console.Caller, a grants.Action) error {
	set := o.grants(who)
	ok, missing := set.Allows(a)
	if ok {
		return nil
	}
	name := ""
	if c := o.caller(who); c != nil {
		name = c.Principal
	}
	o.e.authority.refused.WithLabelValues(string(missing.Kind)).Inc()
	o.e.authority.refusals.Add(name, missing.String())
	return console.Forbidden(missing.String())
}

// actor is the name of the caller for the audit; empty in development mode.
func (o *consoleOperations) actor(who console.Caller) string {
	if c := o.caller(who); c != nil && c.Principal != identity.Dev {
		return c.Principal
	}
	return ""
}

// record writes what an operator does into the audit, before it is done.
func (o *consoleOperations) record(ctx context.Context, who console.Caller, action, detail string) {
	actor := o.actor(who)
	if actor == "" {
		actor = identity.Operator
	}
	nc, err := o.conn()
	if err == nil {
		var a *principals.Audit
		if a, err = principals.OpenAudit(ctx, nc, o.e.nats.subjects); err == nil {
			err = a.Act(ctx, actor, action, detail)
		}
	}
	if err != nil {
		o.e.log.Warn("console: not recorded in the audit", "actor", actor, "action", action, "error", err)
	}
}

// conn is the connection of operations, with the engine's own rights.
func (o *consoleOperations) conn() (*nats.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.nc == nil || o.nc.IsClosed() {
		nc, err := o.e.nats.connect("operations")
		if err != nil {
			return nil, err
		}
		o.nc = nc
	}
	return o.nc, nil
}
