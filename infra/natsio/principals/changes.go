package principals

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/grants"
)

// step is a change of a principal. decide gets the principal, found = there is one,
// and returns false when there is nothing to change.
type step struct {
	typ    string
	data   any
	decide func(now *Principal, found bool) (bool, error)
}

// change appends the event of a step.
func (s *Store) change(ctx context.Context, actor, name string, do step) (Principal, error) {
	var now Principal
	encoded, err := json.Marshal(do.data)
	if err != nil {
		return now, err
	}
	e, err := s.append(ctx, "principal."+name, func(last *Entry) (*events.Event, error) {
		now = Principal{}
		if last != nil {
			if err := json.Unmarshal(last.State, &now); err != nil {
				return nil, fmt.Errorf("read the principal %s: %w", name, err)
			}
		}
		needed, err := do.decide(&now, last != nil)
		if err != nil || !needed {
			return nil, err
		}
		now.ChangedAt = time.Now().UTC()
		state, err := json.Marshal(now)
		return &events.Event{Type: do.typ, Aggregate: "principal", ID: name, Actor: actor, Data: encoded, State: state}, err
	})
	if err != nil || e == nil {
		return now, err
	}
	return now, s.take(e)
}

// Add adds a principal: ErrExists. A revoked name may be added again.
func (s *Store) Add(ctx context.Context, actor string, p Principal) (Principal, error) {
	if err := p.Check(); err != nil {
		return p, err
	}
	return s.change(ctx, actor, p.Name, adding(p))
}

func adding(p Principal) step {
	return step{Added, map[string]string{"role": p.Role, "agents": p.Agents}, func(now *Principal, found bool) (bool, error) {
		if found && !now.Revoked {
			return false, fmt.Errorf("%w: %s", ErrExists, p.Name)
		}
		*now = p
		now.Revoked, now.CreatedAt = false, time.Now().UTC()
		return true, nil
	}}
}

// existing is a step of a principal that is there: ErrUnknown.
func existing(typ, name string, data any, do func(now *Principal) bool) step {
	return step{typ, data, func(now *Principal, found bool) (bool, error) {
		if !found || now.Revoked {
			return false, fmt.Errorf("%w: %s", ErrUnknown, name)
		}
		return do(now), nil
	}}
}

// Grant gives a principal another grant; one that it has changes nothing.
func (s *Store) Grant(ctx context.Context, actor, name string, g grants.Grant) (Principal, error) {
	return s.change(ctx, actor, name, granting(name, g))
}

func granting(name string, g grants.Grant) step {
	return existing(Changed, name, map[string]string{"granted": g.String()}, func(now *Principal) bool { return now.add(g) })
}

// Revoke takes all grants from a principal.
func (s *Store) Revoke(ctx context.Context, actor, name string) (Principal, error) {
	return s.change(ctx, actor, name, revoking(name))
}

func revoking(name string) step {
	return existing(Revoked, name, struct{}{}, func(now *Principal) bool {
		now.Revoked = true
		return true
	})
}

// Rotated records that a principal has new credentials.
func (s *Store) Rotated(ctx context.Context, actor, name string) (Principal, error) {
	return s.change(ctx, actor, name, rotating(name))
}

func rotating(name string) step {
	return existing(Rotated, name, struct{}{}, func(now *Principal) bool {
		at := time.Now().UTC()
		now.RotatedAt = &at
		return true
	})
}

// Bind records the account of a principal on a server in operator mode.
func (s *Store) Bind(ctx context.Context, actor, name, account string) (Principal, error) {
	return s.change(ctx, actor, name, binding(name, account))
}

func binding(name, account string) step {
	return existing(Changed, name, map[string]string{"account": account}, func(now *Principal) bool {
		was := now.Account
		now.Account = account
		return was != account
	})
}
