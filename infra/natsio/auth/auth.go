// Package auth holds the keys and accounts of a NATS server that one engine
// serves: the account ENGINE owns every stream, bucket and consumer, DEV is for
// clients without credentials, and each principal has an account of its own. It
// makes credentials, and the operator, account and user JWTs that a server in
// operator mode asks for.
package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/internal/identity"
)

// Config says what the accounts share.
type Config struct {
	Dir    string // of the keys, mode 0700; every file in it has mode 0600
	Prefix string // subject prefix with its dot, or empty
	// Denied are subject patterns that clients may not publish to, so that they
	// are told so. Nothing of the engine listens to a client's own account there.
	Denied []string
	// ReadRaw are streams that DEV reads without the gate: the hot buckets and the
	// feeds.
	ReadRaw []string
	DevDisk int64 // bytes that clients without credentials may store
}

// Authority makes accounts and credentials. Several processes may use the same
// directory.
type Authority struct {
	cfg  Config
	keys keys

	mu         sync.Mutex
	principals map[string]*principal // by name
	accounts   map[string]string     // name by account
	seen       map[string]fileState  // of the principals' files
	given      map[string]given      // what the server has last got, by account
}

// given is a JWT and the claims that it was made of.
type given struct{ claims, jwt string }

type fileState struct {
	changed time.Time
	size    int64
}

// keys are the seeds of a deployment, in the file keys.json.
type keys struct {
	Operator   string `json:"operator"`
	System     string `json:"system_account"`
	Engine     string `json:"engine_account"`
	EngineUser string `json:"engine_user"`
	Dev        string `json:"dev_account"`
	DevUser    string `json:"dev_user"`
	GateUser   string `json:"gate_user"`
	Mode       Mode   `json:"mode,omitempty"`
}

// principal is the file principals/NAME.json.
type principal struct {
	Name    string           `json:"name"`
	Account string           `json:"account"` // public key
	Seed    string           `json:"seed"`    // of the account
	Feeds   []string         `json:"feeds,omitempty"`
	Revoked map[string]int64 `json:"revoked,omitempty"`
	User    string           `json:"user,omitempty"` // the one whose credentials are valid
	Gone    bool             `json:"gone,omitempty"`
	Profile json.RawMessage  `json:"profile,omitempty"` // see Apply
}

var (
	// ErrExists is returned for the name of a principal that is there.
	ErrExists = errors.New("the principal exists")
	// ErrUnknown is returned for a name without a principal.
	ErrUnknown = errors.New("there is no such principal")

	nameForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
)

// Open reads the keys of a directory and makes missing ones.
func Open(cfg Config) (*Authority, error) {
	a := &Authority{cfg: cfg}
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "principals"), 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of the keys: %w", err)
	}
	path := filepath.Join(cfg.Dir, "keys.json")
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if a.keys, err = newKeys(); err == nil {
			err = writeFile(path, a.keys)
		}
	case err == nil:
		err = json.Unmarshal(text, &a.keys)
	}
	if err != nil {
		return nil, fmt.Errorf("read the server's keys in %s: %w", path, err)
	}
	if err := a.load(); err != nil {
		return nil, err
	}
	if _, err := a.NewPrincipal(identity.Operator); err != nil && !errors.Is(err, ErrExists) {
		return nil, err
	}
	return a, nil
}

func newKeys() (k keys, err error) {
	for _, one := range []struct {
		to   *string
		make func() (nkeys.KeyPair, error)
	}{
		{&k.Operator, nkeys.CreateOperator}, {&k.System, nkeys.CreateAccount}, {&k.Engine, nkeys.CreateAccount},
		{&k.EngineUser, nkeys.CreateUser}, {&k.Dev, nkeys.CreateAccount}, {&k.DevUser, nkeys.CreateUser}, {&k.GateUser, nkeys.CreateUser},
	} {
		pair, err := one.make()
		if err != nil {
			return k, err
		}
		seed, err := pair.Seed()
		if err != nil {
			return k, err
		}
		*one.to = string(seed)
	}
	return k, nil
}

// public is the public key of a seed that this package has made.
func public(seed string) string {
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return ""
	}
	key, _ := pair.PublicKey() // a pair from a seed has one
	return key
}

// Engine is the account of the engine.
func (a *Authority) Engine() string { return public(a.keys.Engine) }

// Dev is the account of clients without credentials.
func (a *Authority) Dev() string { return public(a.keys.Dev) }

// System is the server's own account.
func (a *Authority) System() string { return public(a.keys.System) }

// Caller returns who an account belongs to; nil for accounts that may not ask.
func (a *Authority) Caller(account string) *identity.Caller {
	if account == a.Dev() {
		return &identity.Caller{Principal: identity.Dev, Account: account}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	name, ok := a.accounts[account]
	if !ok || a.principals[name].Gone {
		return nil
	}
	return &identity.Caller{Principal: name, Account: account}
}

// Digest is a short text that only this authority can compute from another.
func (a *Authority) Digest(text string) string {
	h := hmac.New(sha256.New, []byte(a.keys.Operator))
	_, _ = h.Write([]byte(text)) // it never fails
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// Principals returns the names of all principals but the operator, sorted.
func (a *Authority) Principals() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(func(yield func(string) bool) {
		for name, p := range a.principals {
			if !p.Gone && name != identity.Operator && !yield(name) {
				return
			}
		}
	})
}

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
	gone.revokeUser()
	return a.save(&gone)
}

// SetFeeds says which subjects of the feeds a principal hears by subscription:
// "agents.>" or "agents.state.a1.>", without the prefix.
func (a *Authority) SetFeeds(name string, subjects []string) error {
	return a.Apply(name, subjects, nil)
}

// Apply is SetFeeds, and keeps a profile of the principal beside its keys unless it
// is nil.
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
	p.revokeUser()
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
		if err := writeBytes(filepath.Join(a.cfg.Dir, "operator.creds"), creds); err != nil {
			return nil, err
		}
	}
	return creds, a.save(&p)
}

func (p *principal) revokeUser() {
	p.Revoked = maps.Clone(p.Revoked)
	if p.Revoked == nil {
		p.Revoked = map[string]int64{}
	}
	if p.User != "" {
		p.Revoked[p.User] = time.Now().Unix() + 1
	}
	p.User = ""
}

// save writes a principal's file and keeps it.
func (a *Authority) save(p *principal) error {
	if err := writeFile(filepath.Join(a.cfg.Dir, "principals", p.Name+".json"), p); err != nil {
		return fmt.Errorf("write the keys of the principal %s: %w", p.Name, err)
	}
	a.principals[p.Name], a.accounts[p.Account] = p, p.Name
	delete(a.seen, p.Name) // the server has not seen it
	return nil
}

func (a *Authority) load() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.principals, a.accounts, a.seen = map[string]*principal{}, map[string]string{}, map[string]fileState{}
	a.given = map[string]given{}
	return a.loadLocked()
}

// loadLocked reads the principals' files.
func (a *Authority) loadLocked() error {
	_, err := a.read(func(name string, _ fileState) bool { return true })
	return err
}

// read reads the files of the principals that are wanted.
func (a *Authority) read(wanted func(name string, state fileState) bool) (read []*principal, err error) {
	dir := filepath.Join(a.cfg.Dir, "principals")
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the principals: %w", err)
	}
	for _, file := range files {
		name, ok := strings.CutSuffix(file.Name(), ".json")
		info, err := file.Info()
		if !ok || err != nil || !wanted(name, fileState{info.ModTime(), info.Size()}) {
			continue
		}
		var p principal
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err == nil {
			err = json.Unmarshal(text, &p)
		}
		if err == nil && (p.Name != name || public(p.Seed) != p.Account || p.Account == "") {
			err = errors.New("its name or keys do not belong together")
		}
		if err != nil {
			return read, fmt.Errorf("read the keys of the principal %s: %w", name, err)
		}
		a.principals[name], a.accounts[p.Account] = &p, name
		read = append(read, &p)
	}
	return read, nil
}

// Changed returns the JWTs of the accounts whose claims have changed since the server
// got them, and an empty one for an account that is new to it. An update of an account
// interrupts its requests, so one without a change must not be made.
func (a *Authority) Changed() (jwts map[string]string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	states := map[string]fileState{}
	read, err := a.read(func(name string, state fileState) bool {
		states[name] = state
		return a.seen[name] != state
	})
	jwts = map[string]string{}
	for _, p := range read {
		text, was := "", a.given[p.Account].jwt
		if was != "" {
			var failed error
			if text, failed = a.give(p); failed != nil {
				err = errors.Join(err, failed)
				continue
			}
		}
		if text != was || was == "" {
			jwts[p.Account] = text
		}
		a.seen[p.Name] = states[p.Name]
	}
	return jwts, err
}

// writeFile replaces a file in one step. Only the owner can read it.
func writeFile(path string, v any) error {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeBytes(path, append(body, '\n'))
}

func writeBytes(path string, body []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(body)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
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
