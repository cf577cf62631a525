// Package auth holds the keys and accounts of a NATS server that one engine
// serves: the account ENGINE owns every stream, bucket and consumer, DEV is for
// clients without credentials, and each principal has an account of its own. It
// makes credentials, and the operator, account and user JWTs that a server in
// operator mode asks for.
package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/internal/files"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// Config says what the accounts share.
type Config struct {
	Dir    string // of the keys, mode 0700; every file in it has mode 0600
	Prefix string // subject prefix with its dot, or empty
	// Denied are subject patterns that clients may not publish to, so that they
	// get that answer. Nothing of the engine listens to a client's own account there.
	Denied []string
	// ReadRaw are streams that DEV reads without the gate: the hot buckets and the
	// feeds.
	ReadRaw []string
	DevDisk int64 // bytes that clients without credentials may store
	// Connections is how many the server takes; 0 = not known. One principal may have a
	// quarter of them.
	Connections int
}

// Authority makes accounts and credentials. Several processes may use the same
// directory.
type Authority struct {
	cfg  Config
	keys keys

	engine, dev, system string // accounts: to make a public key of a seed takes 30 µs

	mu         sync.Mutex
	principals map[string]*principal // by name
	accounts   map[string]string     // name by account
	seen       map[string]fileState  // of the principals' files
	given      map[string]given      // what the server has last got, by account
	witnesses  map[string]string     // user by name, see Witness
	shared     []string              // see Share
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
	User    string           `json:"user,omitempty"`   // the one whose credentials are valid
	Expire  map[string]int64 `json:"expire,omitempty"` // revoked witnesses, and when their credentials end anyway
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
			err = files.ReplaceJSON(path, a.keys)
		}
	case err == nil:
		err = json.Unmarshal(text, &a.keys)
	}
	if err != nil {
		return nil, fmt.Errorf("read the server's keys in %s: %w", path, err)
	}
	a.engine, a.dev, a.system = public(a.keys.Engine), public(a.keys.Dev), public(a.keys.System)
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
func (a *Authority) Engine() string { return a.engine }

// Dev is the account of clients without credentials.
func (a *Authority) Dev() string { return a.dev }

// System is the server's own account.
func (a *Authority) System() string { return a.system }

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
