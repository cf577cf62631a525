package principals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// Offline is principals while no server is there to keep them: those of an engine on
// an external server that does not run. Import takes them over.
type Offline struct{ known map[string]Principal }

// OpenOffline decodes principals by name.
func OpenOffline(profiles map[string]json.RawMessage) (*Offline, error) {
	o := &Offline{known: map[string]Principal{}}
	for name, text := range profiles {
		var p Principal
		if err := json.Unmarshal(text, &p); err != nil || p.Name != name {
			return nil, errors.Join(fmt.Errorf("the principal %s cannot be read", name), err)
		}
		o.known[name] = p
	}
	return o, nil
}

func (o *Offline) change(name string, do step) (Principal, error) {
	now, found := o.known[name]
	needed, err := do.decide(&now, found)
	if err != nil || !needed {
		return now, err
	}
	now.ChangedAt = time.Now().UTC()
	o.known[name] = now
	return now, nil
}

// Add is Store.Add.
func (o *Offline) Add(_ context.Context, _ string, p Principal) (Principal, error) {
	if err := p.Check(); err != nil {
		return p, err
	}
	return o.change(p.Name, adding(p))
}

// Grant is Store.Grant.
func (o *Offline) Grant(_ context.Context, _, name string, g grants.Grant) (Principal, error) {
	return o.change(name, granting(name, g))
}

// Revoke is Store.Revoke.
func (o *Offline) Revoke(_ context.Context, _, name string) (Principal, error) {
	return o.change(name, revoking(name))
}

// Rotated is Store.Rotated.
func (o *Offline) Rotated(_ context.Context, _, name string) (Principal, error) {
	return o.change(name, rotating(name))
}

// Bind is Store.Bind.
func (o *Offline) Bind(_ context.Context, _, name, account string) (Principal, error) {
	return o.change(name, binding(name, account))
}

// Get is Store.Get.
func (o *Offline) Get(name string) (Principal, bool) {
	p, ok := o.known[name]
	return p, ok
}

// All is Store.All.
func (o *Offline) All() []Principal {
	all := make([]Principal, 0, len(o.known))
	for _, p := range o.known {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Principal) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Import takes principals that Offline has changed, where they are newer than those
// of the store. operator is the account of the operator in operator mode.
func (s *Store) Import(ctx context.Context, profiles map[string]json.RawMessage, operator string) error {
	o, err := OpenOffline(profiles)
	if err != nil {
		return err
	}
	typ := Changed
	if _, found := s.Get(identity.Operator); !found {
		typ = Added
	}
	_, err = s.change(ctx, identity.Operator, identity.Operator, step{typ, map[string]string{"account": operator}, func(now *Principal, found bool) (bool, error) {
		same := found && now.Account == operator && !now.Revoked
		*now = Principal{Name: identity.Operator, Role: "admin", Agents: "*", Account: operator, CreatedAt: now.CreatedAt}
		return !same, nil
	}})
	for _, p := range o.All() {
		if err != nil {
			return err
		}
		typ := Changed
		switch known, found := s.Get(p.Name); {
		case !found || known.Revoked && !p.Revoked:
			typ = Added
		case p.Revoked:
			typ = Revoked
		}
		_, err = s.change(ctx, identity.Operator, p.Name, step{typ, map[string]string{"role": p.Role, "agents": p.Agents}, func(now *Principal, found bool) (bool, error) {
			older := !found || now.ChangedAt.Before(p.ChangedAt)
			if older {
				*now = p
			}
			return older, p.Check()
		}})
	}
	return err
}
