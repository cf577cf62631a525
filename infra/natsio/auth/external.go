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
	"strings"

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
	if err := writeFile(filepath.Join(a.cfg.Dir, "keys.json"), changed); err != nil {
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

// ServerConfig is what a printed configuration says of the server itself.
type ServerConfig struct {
	Name, Listen string
	Store        string // directory of JetStream
	Accounts     string // directory of the accounts in operator mode
	MaxPayload   int
}

// PrintConfig returns the configuration of an external nats-server with the accounts
// of the engine and of all principals.
func (a *Authority) PrintConfig(mode Mode, server ServerConfig) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.loadLocked(); err != nil {
		return "", err
	}
	if err := a.writeEngine(mode); err != nil {
		return "", fmt.Errorf("write the engine's credentials: %w", err)
	}
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range a.principals {
			if !yield(name) {
				return
			}
		}
	})
	w := &configWriter{}
	w.line("# Accounts of Tidemark for nats-server 2.12 or later, made by engine auth print-config.")
	w.line("server_name: %q", server.Name)
	w.line("listen: %q", server.Listen)
	w.line("max_payload: %d", server.MaxPayload)
	w.line("jetstream { store_dir: %q }", server.Store)
	var err error
	if mode == OperatorMode {
		err = a.printOperator(w, names, server.Accounts)
	} else {
		err = a.printAccounts(w, names)
	}
	return w.String(), err
}

// configWriter writes a configuration of nats-server.
type configWriter struct{ strings.Builder }

func (w *configWriter) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// printAccounts prints the accounts of a configuration file.
func (a *Authority) printAccounts(w *configWriter, names []string) error {
	w.line("# After a change: print, then reload every server twice. A reload gives a new account no service imports.")
	w.line("accounts {")
	w.line("  %q: {", EngineAccount)
	w.line("    jetstream: enabled")
	w.line("    users: [ { nkey: %q } ]", public(a.keys.EngineUser)) // so the server checks all NKeys that clients claim
	w.line("    exports: [")
	for _, e := range a.engineClaims().Exports {
		more := ""
		if e.Type == jwt.Service && e.ResponseType != "" && e.ResponseType != jwt.ResponseTypeSingleton {
			more += ", response_type: " + strings.ToLower(string(e.ResponseType))
		}
		if e.AccountTokenPosition > 0 {
			more += fmt.Sprintf(", account_token_position: %d", e.AccountTokenPosition)
		}
		w.line("      { %s: %q%s }", kind(e.Type), e.Subject, more)
	}
	w.line("    ]")
	w.line("  }")
	seen := map[string]string{}
	for _, name := range names {
		p := a.principals[name]
		account := identity.ConfigAccount(name)
		if p.Gone {
			continue
		}
		if other, taken := seen[account]; taken || name != identity.Operator && slices.Contains(reserved, account) {
			return fmt.Errorf("the principal %s would get the account %s, which is reserved or the one of %s: revoke it and add it under another name", name, account, other)
		}
		seen[account] = name
		claims := a.principalClaims(p, account, EngineAccount)
		w.line("  %q: {", account)
		w.line("    users: [ { nkey: %q } ]", p.User)
		w.line("    limits: { max_connections: %d, max_subscriptions: %d }", claims.Limits.Conn, claims.Limits.Subs)
		w.line("    imports: [")
		for _, i := range claims.Imports {
			more := ""
			if string(i.LocalSubject) != string(i.Subject) {
				more += fmt.Sprintf(", to: %q", i.LocalSubject)
			}
			if i.Share {
				more += ", share: true"
			}
			w.line("      { %s: { account: %q, subject: %q }%s }", kind(i.Type), i.Account, i.Subject, more)
		}
		w.line("    ]")
		w.line("  }")
	}
	w.line("}")
	return nil
}

func kind(t jwt.ExportType) string {
	if t == jwt.Stream {
		return "stream"
	}
	return "service"
}

// printOperator prints the trust and the accounts of operator mode.
func (a *Authority) printOperator(w *configWriter, names []string, dir string) error {
	claims, err := a.OperatorClaims()
	if err != nil {
		return err
	}
	operator, err := encode(claims, a.keys.Operator)
	if err != nil {
		return err
	}
	system, err := a.systemJWT()
	if err != nil {
		return err
	}
	engine, err := a.engineJWT()
	if err != nil {
		return err
	}
	w.line("# The server keeps changed accounts in its directory: engine auth sends them, and no reload is needed.")
	w.line("operator: %q", operator)
	w.line("system_account: %q", a.System())
	w.line("resolver { type: full, dir: %q, allow_delete: false, interval: \"1m\" }", dir)
	w.line("resolver_preload {")
	w.line("  %q: %q", a.System(), system)
	w.line("  %q: %q", a.Engine(), engine)
	for _, name := range names {
		text, err := a.principalJWT(a.principals[name])
		if err != nil {
			return err
		}
		w.line("  %q: %q # %s", a.principals[name].Account, text, name)
	}
	w.line("}")
	return nil
}
