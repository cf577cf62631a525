package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/keys"
)

// authWork is what the subcommands of auth work on.
type authWork struct {
	store
	keys *auth.Authority
	push func(ctx context.Context, name string) error // an account to a server in operator mode; nil = nothing to do
	// refused waits until the server refuses credentials; nil = no server runs that learns of
	// a change by itself.
	refused func(ctx context.Context, creds []byte) error
	close   func()
}

// store keeps principals: a *principals.Store, or *principals.Offline where no server is.
type store interface {
	Add(ctx context.Context, actor string, p principals.Principal) (principals.Principal, error)
	Grant(ctx context.Context, actor, name string, g grants.Grant) (principals.Principal, error)
	Revoke(ctx context.Context, actor, name string) (principals.Principal, error)
	Rotated(ctx context.Context, actor, name string) (principals.Principal, error)
	Bind(ctx context.Context, actor, name, account string) (principals.Principal, error)
	Get(name string) (principals.Principal, bool)
	All() []principals.Principal
}

// open opens the principals of a running engine, or of a data directory.
func (c *authTarget) open(ctx context.Context) (w *authWork, err error) {
	w = &authWork{close: func() {}}
	var nc *nats.Conn
	switch _, noted := deployment.ReadNote(c.Data); {
	case c.Server != "" || noted == nil:
		if nc, err = c.ConnectOperator(ctx, "auth"); err != nil {
			return nil, err
		}
		w.close = nc.Close
		s, _, serr := c.Status(ctx, nc)
		if serr != nil {
			w.close()
			return nil, serr
		}
		c.SubjectPrefix = s.Prefix
		dir := embedded.KeysDir(s.Data)
		if !s.NATS.Embedded() {
			dir = embedded.KeysDir(c.Data)
			if !auth.Exists(dir) {
				w.close()
				return nil, fmt.Errorf("the engine runs on an external NATS server, and %s has no keys for it: work where they are, or make them with 'engine auth init --external'", c.Data)
			}
		}
		if w.keys, err = c.openKeys(dir); err == nil && s.NATS.Accounts == auth.OperatorMode {
			w.push = func(ctx context.Context, name string) error { return c.PushAccount(ctx, w.keys, name) }
		}
		if err == nil && w.keys.Mode() != auth.ConfigFile {
			w.refused = c.AwaitRefused
		}
	case !errors.Is(noted, fs.ErrNotExist):
		return nil, fmt.Errorf("read the engine's address in %s: %w", c.Data, noted)
	case auth.Exists(embedded.KeysDir(c.Data)):
		if w.keys, err = c.openKeys(embedded.KeysDir(c.Data)); err != nil {
			return nil, err
		}
		if w.keys.Mode() != auth.Embedded { // the next start of the engine takes what is changed now
			w.store, err = principals.OpenOffline(w.keys.Profiles())
			return w, err
		}
		fallthrough
	default:
		if nc, err = c.start(ctx, w); err != nil {
			return nil, err
		}
	}
	if err == nil {
		w.store, err = principals.Open(ctx, nc, c.Subjects(), nil, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// openKeys opens the keys of a directory with all streams that clients read.
func (c *authTarget) openKeys(dir string) (*auth.Authority, error) {
	return auth.Open(auth.Config{Dir: dir, Prefix: c.Subjects().Root(""), ReadRaw: auth.Streams})
}

// start runs the embedded server on the data directory of a stopped engine.
func (c *authTarget) start(ctx context.Context, w *authWork) (*nats.Conn, error) {
	needs := filepath.Join(c.Data, "nats")
	if c.makes {
		needs = c.Data
	}
	if _, err := os.Stat(needs); err != nil {
		return nil, fmt.Errorf("%w: %s has no data of an engine: start one with 'engine serve', or make the keys first with 'engine auth init'", deployment.ErrUnreachable, c.Data)
	}
	unlock, err := deployment.Lock(c.Data)
	if err != nil {
		return nil, err
	}
	w.close = func() { _ = unlock() } // the lock ends with the process in any case
	log := slog.New(slog.DiscardHandler)
	key, err := deployment.StorageKey(ctx, c.Data, &c.Keys)
	var s *embedded.Server
	if err == nil {
		s, err = deployment.StartNATS(embedded.Config{Dir: c.Data, Listen: "127.0.0.1:0", Auth: true, Synced: true, Key: key, Log: log}, c.SubjectPrefix)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	w.close = func() { s.Stop(); _ = unlock() }
	nc, err := natsio.Connect(s.URL(), "tidemark-auth", log, s.Options()...)
	if err != nil {
		w.close()
		return nil, err
	}
	w.keys, w.close = s.Authority(), func() { nc.Close(); s.Stop(); _ = unlock() }
	return nc, nil
}

// authTarget are the flags of every subcommand.
type authTarget struct {
	deployment.Target
	Keys keys.Source `embed:""`

	makes bool // also the keys of a directory that has no data of an engine
}

// with opens the principals and closes them after use.
func (c *authTarget) with(ctx context.Context, use func(ctx context.Context, w *authWork) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	w, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	return use(ctx, w)
}

// shown is a principal as it is printed.
type shown struct {
	principals.Principal
	Effective []grants.Grant `json:"effective"` // all grants in force
	Creds     string         `json:"creds,omitempty"`
}

func show(p principals.Principal, creds string) shown {
	s := shown{Principal: p, Creds: creds, Effective: []grants.Grant{}}
	if s.Grants == nil {
		s.Grants = []grants.Grant{}
	}
	if set, err := p.Set(); err == nil && set != nil {
		s.Effective = set.Grants()
	}
	return s
}

// apply writes a principal beside its keys, and lets it hear the feeds that its grants
// cover.
func (w *authWork) apply(ctx context.Context, p principals.Principal) error {
	profile, err := json.Marshal(p)
	if err != nil {
		return err
	}
	var feeds []string
	set, err := p.Set()
	if err != nil {
		return err
	}
	if set != nil {
		feeds = set.Feeds()
	}
	if err := w.keys.Apply(p.Name, feeds, profile); err != nil && (!p.Revoked || !errors.Is(err, auth.ErrUnknown)) {
		return err
	}
	if w.push == nil {
		return nil
	}
	return w.push(ctx, p.Name)
}

// ending returns a function that waits, after the credentials of a principal were ended, until
// the server refuses them.
func (w *authWork) ending(name string) (wait func(ctx context.Context) error) {
	done := func(context.Context) error { return nil }
	if w.refused == nil {
		return done
	}
	witness, err := w.keys.Witness(name)
	if err != nil { // no keys: there is nothing to end
		return done
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, endedTime)
		defer cancel()
		if err := w.refused(ctx, witness); err != nil {
			return fmt.Errorf("the credentials of %s have ended, and the server does not refuse them within %s: %w", name, endedTime, err)
		}
		return nil
	}
}

// endedTime bounds the wait for a server that ends credentials.
const endedTime = 5 * time.Second

// suffix is of the files of credentials.
func (w *authWork) suffix() string {
	if w.keys.Mode() == auth.ConfigFile {
		return ".nk"
	}
	return ".creds"
}

// reload says what the operator of an external server does next.
func (w *authWork) reload(out *Output) {
	if w.keys.Mode() == auth.ConfigFile {
		out.Printf("The NATS server needs the new configuration: engine auth print-config, then reload each server twice.\n")
	}
}
