package app

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/nats-io/nuid"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	"github.com/tidemark-engine/tidemark/internal/readiness"
)

// externalAccounts are the accounts of an external server.
type externalAccounts struct {
	*principals.Store
	subjects natsio.Subjects
	secret   []byte // the same for all engines
}

// Root implements gate.Accounts.
func (a *externalAccounts) Root(account string) string { return a.subjects.Root("tm.") + account + "." }

// Dev implements gate.Accounts: all clients have credentials.
func (a *externalAccounts) Dev() string { return "" }

// Digest implements gate.Accounts.
func (a *externalAccounts) Digest(text string) string {
	h := hmac.New(sha256.New, a.secret)
	_, _ = h.Write([]byte(text)) // it never fails
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// checkClients refuses an external server that does not distinguish principals. Its
// error is a *deployment.UsageError.
func (e *Engine) checkClients(ctx context.Context, nc *nats.Conn) error {
	if e.nats.Embedded != nil || !e.cfg.Authenticated() {
		return nil
	}
	account, err := natsio.OwnAccount(ctx, nc)
	if err != nil {
		return fmt.Errorf("ask the NATS server for the account of the engine: %w", err)
	}
	if account == "$G" {
		return deployment.Usagef("--auth on: the NATS server has no accounts, so that its clients share the one of the engine; " +
			"configure it with what 'engine auth print-config' prints, or use --auth off")
	}
	e.nats.Mode = auth.ConfigFile
	if nkeys.IsValidPublicAccountKey(account) {
		e.nats.Mode = auth.OperatorMode
	}
	for _, url := range strings.Split(e.nats.URL, ",") {
		checked, err := claimsChecked(url, e.cfg.NATSAccess)
		if err != nil { // it is away
			e.log.Debug("it is not known whether a NATS server checks the NKeys of clients", "error", err)
			continue
		}
		if !checked {
			return deployment.Usagef("--auth on: the NATS server admits a client that only claims to have an NKey, so that requests do not say who sends them; " +
				"give one of its users an NKey and let no client connect without credentials (engine auth print-config)")
		}
	}
	return nil
}

// claimsChecked reports whether a server refuses a client that claims an NKey which is
// no principal's. A server without NKeys admits it, and passes that name on.
func claimsChecked(url string, access natsio.Access) (bool, error) {
	access.Creds, access.NKey = "", ""
	opts, err := access.Options()
	if err != nil {
		return false, err
	}
	key, err := nkeys.CreateUser()
	if err != nil {
		return false, err
	}
	public, err := key.PublicKey()
	if err != nil {
		return false, err
	}
	nc, err := nats.Connect(url, append(opts, nats.Name("tidemark-probe"), nats.Timeout(probeTime), nats.NoReconnect(), nats.Nkey(public, key.Sign))...)
	switch {
	case err == nil:
		nc.Close()
		return false, nil
	case errors.Is(err, nats.ErrAuthorization), strings.Contains(strings.ToLower(err.Error()), "authorization violation"):
		return true, nil
	case errors.Is(err, nats.ErrNkeysNotSupported): // the server has no nonce
		return false, nil
	}
	return false, err
}

// openExternal takes the accounts of an external server over: those of principals that
// were made in the data directory, and what it says of the server.
func (e *Engine) openExternal(ctx context.Context, store *principals.Store) error {
	if e.nats.Mode == auth.Embedded {
		return nil
	}
	secret, err := e.journal.intake(ctx, e.nats.First())
	if err != nil {
		return err
	}
	e.nats.Accounts = &externalAccounts{store, e.nats.Subjects, []byte(secret)}
	dir := embedded.KeysDir(e.cfg.Data)
	if !auth.Exists(dir) {
		e.log.Info("the data directory has no keys, so that the engine cannot ask as a client whether the accounts of the NATS server reach it (engine auth init --external)")
		return nil
	}
	keys, err := auth.Open(auth.Config{Dir: dir, Prefix: e.nats.Subjects.Root(""), ReadRaw: auth.Streams})
	if err != nil {
		return err
	}
	if err := keys.SetMode(e.nats.Mode); err != nil {
		return err
	}
	e.nats.Operator = keys.ClientAccount()
	account := ""
	if e.nats.Mode == auth.OperatorMode {
		account = e.nats.Operator
	}
	return store.Import(ctx, keys.Profiles(), account)
}

const (
	// probeTime bounds one question of a probe of the accounts.
	probeTime = 2 * time.Second
	// probeAgain is the pause after a probe that has found nothing.
	probeAgain = time.Minute
)

// watchAccounts asks as the operator, on an external server, whether the accounts of
// clients reach the engine.
func (e *Engine) watchAccounts() {
	if e.nats.Operator == "" {
		return
	}
	p := &accountsProbe{e: e}
	e.stops.Add(func(context.Context) { p.close() })
	e.stops.Add(lifecycle.InBackground(func(ctx context.Context) {
		e.readiness.Run(ctx, readiness.Probe{Component: "accounts", Level: readiness.NotReady, Every: 2 * time.Second, Timeout: 10 * probeTime, Ask: p.ask})
	}))
}

// accountsProbe is a connection of the operator.
type accountsProbe struct {
	e  *Engine
	mu sync.Mutex
	nc *nats.Conn
	ok time.Time // of the last look that found nothing
}

func (p *accountsProbe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nc != nil {
		p.nc.Close()
	}
}

func (p *accountsProbe) ask(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.ok) < probeAgain {
		return nil
	}
	if err := p.look(ctx); err != nil {
		return fmt.Errorf("%w: print the configuration again (engine auth print-config) and reload each server twice", err)
	}
	p.ok = time.Now()
	return nil
}

func (p *accountsProbe) look(ctx context.Context) error {
	n := p.e.nats
	if p.nc == nil || p.nc.IsClosed() {
		access := p.e.cfg.NATSAccess
		access.User, access.PasswordFile, access.NKey = "", "", ""
		access.Creds = filepath.Join(embedded.KeysDir(p.e.cfg.Data), "operator.creds")
		opts, err := access.Options()
		if err == nil {
			p.nc, err = natsio.Connect(deployment.WithoutUsers(n.URL), "tidemark-accounts", n.Log, opts...)
		}
		if err != nil {
			return fmt.Errorf("the NATS server does not admit the operator's credentials of the data directory: %w", err)
		}
	}
	// Each of these is answered by the engine, if only with an error.
	for _, imported := range []string{n.Subjects.Root("queries.") + ">", n.Subjects.Root("commands.") + ">", n.Subjects.Root("enqueue.") + ">", "$JS.API.>", "$SRV.>"} {
		subject := map[string]string{"$JS.API.>": "$JS.API.INFO", "$SRV.>": "$SRV.PING.tidemark"}[imported]
		if writes := strings.HasPrefix(imported, n.Subjects.Root("commands.")) || strings.HasPrefix(imported, n.Subjects.Root("enqueue.")); writes && !p.ok.IsZero() {
			continue // an error once a minute would look like a client's
		}
		if subject == "" {
			subject = strings.TrimSuffix(imported, ">") + "engine.status"
		}
		limited, cancel := context.WithTimeout(ctx, probeTime)
		m, err := p.nc.RequestWithContext(limited, subject, nil)
		cancel()
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return fmt.Errorf("an account of the NATS server does not import %s of the engine", imported)
		case err != nil:
			return fmt.Errorf("the engine does not answer on %s of an account of the NATS server: %w", imported, err)
		case m.Header.Get("Nats-Service-Error-Code") == "403":
			return fmt.Errorf("a request on %s does not say who sends it, or the account is not known", imported)
		}
	}
	// These are heard.
	for local, own := range map[string]string{"_INBOX.": "inbox.", n.Subjects.Root("outcomes."): "outcomes."} {
		id := "probe-" + nuid.Next()
		sub, err := p.nc.SubscribeSync(local + id)
		if err != nil {
			return err
		}
		err = p.nc.FlushTimeout(probeTime)
		if err == nil {
			err = n.First().Publish(n.Accounts.Root(n.Operator)+own+id, nil)
		}
		if err == nil {
			limited, cancel := context.WithTimeout(ctx, probeTime)
			if _, err = sub.NextMsgWithContext(limited); err != nil {
				err = fmt.Errorf("an account of the NATS server does not hear %s> of the engine", local)
			}
			cancel()
		}
		if err = errors.Join(err, sub.Unsubscribe()); err != nil {
			return err
		}
	}
	// And no client may speak for another account.
	limited, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	_, err := p.nc.RequestWithContext(limited, n.Subjects.Root("tm.")+"OTHER.queries.engine.status", nil)
	if err == nil {
		return errors.New("an account of the NATS server reaches the engine in the name of another one: the exports lack account_token_position")
	}
	return nil
}
