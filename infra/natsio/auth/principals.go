package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/internal/files"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// Account returns the account of a principal.
func (a *Authority) Account(name string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.principals[name]
	if p == nil || p.Gone {
		return "", fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	return p.Account, nil
}

// NewPrincipal makes a principal with an account of its own, and returns its
// credentials. Nothing can make them again. A name that was revoked gets its
// account back.
func (a *Authority) NewPrincipal(name string) (creds []byte, err error) {
	if !nameForm.MatchString(name) || name == identity.Dev {
		return nil, fmt.Errorf("the name %q of a principal is not 1 to 128 of A-Z a-z 0-9 _ -, or is %q, which is taken", name, identity.Dev)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.loadLocked(); err != nil {
		return nil, err
	}
	p := a.principals[name]
	switch {
	case p != nil && !p.Gone:
		return nil, fmt.Errorf("%w: %s", ErrExists, name)
	case a.keys.Mode == ConfigFile:
		if err := a.checkConfigName(name); err != nil {
			return nil, err
		}
	}
	if p == nil {
		pair, err := nkeys.CreateAccount()
		if err != nil {
			return nil, err
		}
		seed, err := pair.Seed()
		if err != nil {
			return nil, err
		}
		p = &principal{Name: name, Seed: string(seed), Account: public(string(seed))}
	}
	return a.issue(p)
}

// Rotate returns new credentials of a principal. Those before end at once.
func (a *Authority) Rotate(name string) (creds []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, err := a.known(name)
	if err != nil {
		return nil, err
	}
	return a.issue(p)
}

// Revoke ends the credentials of a principal and closes its connections.
func (a *Authority) Revoke(name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, err := a.known(name)
	if err != nil {
		return err
	}
	gone := *p
	gone.Gone, gone.Feeds = true, nil
	a.endUser(&gone)
	return a.save(&gone)
}

// Apply sets the subjects of the feeds that a principal hears by subscription, "agents.>"
// or "agents.state.a1.>" without the prefix, and keeps a profile of the principal beside
// its keys unless that is nil.
func (a *Authority) Apply(name string, subjects []string, profile json.RawMessage) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, err := a.known(name)
	if err != nil {
		return err
	}
	changed := *p
	changed.Feeds = slices.Sorted(slices.Values(subjects))
	if profile != nil {
		changed.Profile = profile
	}
	if slices.Equal(changed.Feeds, p.Feeds) && bytes.Equal(changed.Profile, p.Profile) {
		return nil
	}
	return a.save(&changed)
}

func (a *Authority) known(name string) (*principal, error) {
	if err := a.loadLocked(); err != nil {
		return nil, err
	}
	p := a.principals[name]
	if p == nil || p.Gone {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	return p, nil
}

// issue gives a principal a new user, in place of the one it has.
func (a *Authority) issue(was *principal) ([]byte, error) {
	p := *was
	a.endUser(&p)
	p.Gone = false
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	seed, err := pair.Seed()
	if err != nil {
		return nil, err
	}
	p.User = public(string(seed))
	creds, err := a.credentials(&p, string(seed))
	if err != nil {
		return nil, err
	}
	if p.Name == identity.Operator {
		if err := files.Replace(filepath.Join(a.cfg.Dir, "operator.creds"), creds); err != nil {
			return nil, err
		}
	}
	return creds, a.save(&p)
}

// endUser revokes the user of a principal and its witness.
func (a *Authority) endUser(p *principal) {
	now := time.Now().Unix()
	p.Revoked, p.Expire = maps.Clone(p.Revoked), maps.Clone(p.Expire)
	if p.Revoked == nil {
		p.Revoked = map[string]int64{}
	}
	if p.User != "" {
		p.Revoked[p.User] = now + 1
	}
	p.User = ""
	maps.DeleteFunc(p.Expire, func(_ string, at int64) bool { return at < now })
	if witness := a.witnesses[p.Name]; witness != "" {
		if p.Expire == nil {
			p.Expire = map[string]int64{}
		}
		p.Expire[witness] = now + int64(2*witnessTime/time.Second)
		delete(a.witnesses, p.Name)
	}
}

// witnessTime is how long the credentials of a witness are valid.
const witnessTime = time.Minute

// Witness returns credentials that the next Rotate or Revoke of a principal ends together
// with its own: the server refuses them once it refuses those.
func (a *Authority) Witness(name string) (creds []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, err := a.known(name)
	if err != nil {
		return nil, err
	}
	user, text, seed, err := p.newUser()
	if err != nil {
		return nil, err
	}
	a.witnesses[name] = user
	return jwt.FormatUserConfig(text, []byte(seed))
}

// AccountUser is a user of an account that clients connect to, for a minute.
func (a *Authority) AccountUser(account string) (userJWT, seed string, err error) {
	if account == a.Dev() {
		return a.GateUser()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.principals[a.accounts[account]]
	if p == nil {
		return "", "", fmt.Errorf("%w: account %.60s", ErrUnknown, account)
	}
	_, userJWT, seed, err = p.newUser()
	return userJWT, seed, err
}

// newUser makes a user of a principal's account that is valid for a minute.
func (p *principal) newUser() (user, userJWT, seed string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", "", "", err
	}
	key, err := pair.Seed()
	if err != nil {
		return "", "", "", err
	}
	claims := jwt.NewUserClaims(public(string(key)))
	claims.Name, claims.Expires = p.Name, time.Now().Add(witnessTime).Unix()
	userJWT, err = encode(claims, p.Seed)
	return claims.Subject, userJWT, string(key), err
}

// Accounts are those that clients connect to, DEV first.
func (a *Authority) Accounts() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := []string{a.Dev()}
	for _, p := range a.principals {
		if !p.Gone {
			all = append(all, p.Account)
		}
	}
	return all
}

// sign returns a credentials file.
func sign(claims *jwt.UserClaims, accountSeed, userSeed string) ([]byte, error) {
	text, err := encode(claims, accountSeed)
	if err != nil {
		return nil, err
	}
	return jwt.FormatUserConfig(text, []byte(userSeed))
}

func encode(claims jwt.Claims, seed string) (string, error) {
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return "", err
	}
	var problems jwt.ValidationResults
	claims.Validate(&problems)
	if problems.IsBlocking(true) {
		return "", fmt.Errorf("make a JWT: %w", errors.Join(problems.Errors()...))
	}
	return claims.Encode(pair)
}
