package auth

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/tidemark-engine/tidemark/internal/identity"
)

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
	w.line("jetstream { store_dir: %q, sync_interval: always }", server.Store)
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
		w.line("    mappings: {")
		for _, from := range slices.Sorted(maps.Keys(claims.Mappings)) {
			w.line("      %q: %q", from, claims.Mappings[from][0].Subject)
		}
		w.line("    }")
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
