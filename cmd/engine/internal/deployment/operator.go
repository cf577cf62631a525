package deployment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// errNoRights means that the engine's own rights are not on this machine.
var errNoRights = errors.New("this command needs the engine's own rights, which are in its data directory")

// ConnectOperator connects with the engine's own rights, which a change of the
// journal or of a view needs. For an embedded server they are in the data
// directory. Who names credentials gets these rights only for an area in which their
// principal may work: else 403 forbidden.
func (t *Target) ConnectOperator(ctx context.Context, area string) (*nats.Conn, error) {
	nc, err := t.Connect()
	if err != nil {
		return nil, err
	}
	t.asker = nil // of an earlier connection, which may be closed
	s, _, err := t.Status(ctx, nc)
	hidden := s.NATS.Mode == "" // without the grant admin status
	switch {
	case err != nil:
		nc.Close()
		return nil, err
	case hidden:
		s.Data = t.Data
	case !s.NATS.Embedded() && s.NATS.Accounts == auth.Embedded:
		return nc, nil
	}
	own, err := t.own(nc, s.Data)
	if err != nil || t.Access.None() {
		return own, err
	}
	err = t.permitted(ctx, own, &s, area)
	if err == nil && hidden {
		err = t.permitted(ctx, own, &s, "status")
	}
	if err != nil {
		own.Close()
		return nil, err
	}
	return own, nil
}

// ConnectArea is ConnectStores for work in an area: who names credentials may do there what
// their principal may, where the engine's own rights are on this machine.
func (t *Target) ConnectArea(ctx context.Context, area string) (*nats.Conn, error) {
	if t.Access.None() {
		return t.ConnectStores()
	}
	nc, err := t.ConnectOperator(ctx, area)
	if errors.Is(err, errNoRights) || errors.Is(err, ErrUnreachable) { // with its own rights, as the server grants them
		t.asker = nil
		return t.ConnectStores()
	}
	return nc, err
}

// Actor is who works with the engine's own rights.
func (t *Target) Actor() string { return cmp.Or(t.actor, identity.Operator) }

// permitted fails unless the principal of the named credentials may work in an area.
func (t *Target) permitted(ctx context.Context, own *nats.Conn, s *Status, area string) error {
	account, err := natsio.OwnAccount(ctx, t.asker)
	if err != nil {
		return fmt.Errorf("ask whose the credentials are: %w", err)
	}
	if engines, err := natsio.OwnAccount(ctx, own); err != nil || engines == account {
		return err // they are the engine's
	}
	log := slog.New(slog.DiscardHandler)
	store, err := principals.Open(ctx, own, natsio.NewSubjects(s.Prefix), nil, log)
	if err != nil {
		return err
	}
	caller := store.Caller(account)
	if dir := embedded.KeysDir(s.Data); caller == nil && auth.Exists(dir) {
		keys, err := auth.Open(auth.Config{Dir: dir})
		if err != nil {
			return err
		}
		caller = keys.Caller(account)
	}
	name, set := "", (*grants.Set)(nil)
	if caller != nil {
		if name, set = caller.Principal, store.Grants(caller.Principal); name == identity.Operator {
			return nil
		}
	}
	ok, missing := set.Allows(grants.Action{Kind: grants.Admin, Verb: area})
	if ok {
		t.actor = name
		return nil
	}
	refusals := principals.NewRefusals(store.Audit, log)
	refusals.Add(name, missing.String())
	now, cancel := context.WithCancel(ctx)
	cancel()
	refusals.Run(now)
	return domain.Errorf(domain.Forbidden, "forbidden", "%s may not do that; the missing grant is %q: ask the operator of the engine (engine auth grant)",
		cmp.Or(name, "the principal of these credentials"), missing.String()).With("missing", missing.String())
}
