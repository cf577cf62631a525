package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/internal/files"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// Mode is the kind of server that the keys are for.
type Mode string

// Modes of servers.
const (
	Embedded Mode = "" // in the engine
	// ConfigFile is an external server whose configuration file has the accounts:
	// their names are those of identity.ConfigAccount, and users have NKeys.
	ConfigFile Mode = "config"
	// OperatorMode is an external server that trusts the operator of this directory.
	OperatorMode Mode = "operator"
)

// EngineAccount is the name of the engine's account.
const EngineAccount = "ENGINE"

// reserved are names of accounts in a configuration file that no principal gets.
var reserved = []string{EngineAccount, identity.ConfigAccount(identity.Operator), "SYS", "DEV", "NOBODY"}

// Exists reports whether a directory has keys.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "keys.json"))
	return !errors.Is(err, fs.ErrNotExist)
}

// Mode is the kind of server that the keys are for.
func (a *Authority) Mode() Mode {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.keys.Mode
}

// SetMode says which kind of server the keys are for. For an external one it writes
// the engine's own credentials beside those of the operator.
func (a *Authority) SetMode(mode Mode) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.writeEngine(mode); err != nil {
		return fmt.Errorf("write the engine's credentials: %w", err)
	}
	if mode == a.keys.Mode {
		return nil
	}
	changed := a.keys
	changed.Mode = mode
	if err := files.ReplaceJSON(filepath.Join(a.cfg.Dir, "keys.json"), changed); err != nil {
		return fmt.Errorf("write the server's keys: %w", err)
	}
	a.keys = changed
	operator := a.principals[identity.Operator]
	path := filepath.Join(a.cfg.Dir, "operator.creds")
	text, err := os.ReadFile(path)
	if err == nil {
		var seed []byte
		if seed, err = seedOf(text); err == nil {
			text, err = a.credentials(operator, string(seed))
		}
	}
	if err != nil { // it is lost: a new one
		_, err = a.issue(operator)
		return err
	}
	return files.Replace(path, text)
}

// EngineFile is the file of the engine's own credentials for an external server.
func (a *Authority) EngineFile(mode Mode) string {
	if mode == ConfigFile {
		return filepath.Join(a.cfg.Dir, "engine.nk")
	}
	return filepath.Join(a.cfg.Dir, "engine.creds")
}

func (a *Authority) writeEngine(mode Mode) (err error) {
	text := []byte(a.keys.EngineUser + "\n")
	switch mode {
	case Embedded:
		return nil
	case OperatorMode:
		if text, err = a.EngineCreds(); err != nil {
			return err
		}
	}
	path := a.EngineFile(mode)
	if was, err := os.ReadFile(path); err == nil && (bytes.Equal(was, text) || mode == OperatorMode) {
		return nil // a JWT differs in its time alone
	}
	return files.Replace(path, text)
}

// credentials are the credentials of a principal in the form that the server takes.
func (a *Authority) credentials(p *principal, seed string) ([]byte, error) {
	if a.keys.Mode == ConfigFile {
		return []byte(seed + "\n"), nil
	}
	claims := jwt.NewUserClaims(p.User)
	claims.Name = p.Name
	return sign(claims, p.Seed, seed)
}

// seedOf is the seed of a user in a credentials file.
func seedOf(text []byte) ([]byte, error) {
	pair, err := nkeys.ParseDecoratedUserNKey(text)
	if err != nil {
		return nil, err
	}
	return pair.Seed()
}

// checkConfigName fails if the account of a principal would not be its own.
func (a *Authority) checkConfigName(name string) error {
	account := identity.ConfigAccount(name)
	if slices.Contains(reserved, account) {
		return fmt.Errorf("the name %q of a principal would give it the account %s, which is reserved", name, account)
	}
	for other, p := range a.principals {
		if other != name && !p.Gone && identity.ConfigAccount(other) == account {
			return fmt.Errorf("the principals %s and %s would share the account %s: choose another name", other, name, account)
		}
	}
	return nil
}

// ClientAccount is the account of the operator as the server names it.
func (a *Authority) ClientAccount() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keys.Mode == ConfigFile {
		return identity.ConfigAccount(identity.Operator)
	}
	return a.principals[identity.Operator].Account
}

// Profiles returns the profiles that Apply has kept, by name; of revoked principals
// too.
func (a *Authority) Profiles() map[string]json.RawMessage {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[string]json.RawMessage{}
	for name, p := range a.principals {
		if p.Profile != nil {
			all[name] = p.Profile
		}
	}
	return all
}

// AccountJWT is the JWT of a principal's account, also of a revoked one.
func (a *Authority) AccountJWT(name string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.loadLocked(); err != nil {
		return "", err
	}
	p := a.principals[name]
	if p == nil {
		return "", fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	return a.principalJWT(p)
}

// SystemUser is a new user of the system account, which changes accounts on a server
// in operator mode.
func (a *Authority) SystemUser() (userJWT, seed string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", "", err
	}
	text, err := pair.Seed()
	if err != nil {
		return "", "", err
	}
	claims := jwt.NewUserClaims(public(string(text)))
	claims.Name = "auth"
	userJWT, err = encode(claims, a.keys.System)
	return userJWT, string(text), err
}
