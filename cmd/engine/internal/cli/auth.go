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
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// Auth says who may use the engine. It works on a running engine as its operator, and on
// the data directory of a stopped one.
type Auth struct {
	Init         AuthInit     `cmd:"" help:"Make the keys of a data directory."`
	Add          AuthAdd      `cmd:"" help:"Add a principal and write its credentials file."`
	List         AuthList     `cmd:"" help:"List the principals."`
	Show         AuthShow     `cmd:"" help:"Show what a principal may do."`
	Grant        AuthGrant    `cmd:"" help:"Grant a principal more than its role does."`
	Revoke       AuthRevoke   `cmd:"" help:"Take all grants from a principal and end its credentials."`
	Rotate       AuthRotate   `cmd:"" help:"Write new credentials of a principal; the ones before end at once."`
	RotateMaster RotateMaster `cmd:"" help:"Wrap the keys of all agents with a new master key, while engines serve."`
	Print        AuthPrint    `cmd:"" name:"print-config" help:"Print the configuration of an external NATS server with the accounts of the engine and of all principals."`
	Log          AuthLog      `cmd:"" help:"Print the audit: changes of principals, refusals and what operators did; checks its digests."`
}

// authWork is what the subcommands of auth work on.
type authWork struct {
	store
	keys  *auth.Authority
	push  func(ctx context.Context, name string) error // an account to a server in operator mode; nil = nothing to do
	close func()
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
		if nc, err = c.ConnectOperator(ctx); err != nil {
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
		if nc, err = c.start(w); err != nil {
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
func (c *authTarget) start(w *authWork) (*nats.Conn, error) {
	if _, err := os.Stat(c.Data); err != nil {
		return nil, fmt.Errorf("%w: %s has no data of an engine: start one with 'engine serve', or make the keys first with 'engine auth init'", deployment.ErrUnreachable, c.Data)
	}
	unlock, err := deployment.Lock(c.Data)
	if err != nil {
		return nil, err
	}
	w.close = func() { _ = unlock() } // the lock ends with the process in any case
	log := slog.New(slog.DiscardHandler)
	s, err := deployment.StartNATS(embedded.Config{Dir: c.Data, Listen: "127.0.0.1:0", Auth: true, Synced: true, Log: log}, c.SubjectPrefix)
	if err != nil {
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
type authTarget struct{ deployment.Target }

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

// newFile makes a credentials file that only its owner can read. It replaces none.
func newFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, usagef("%s exists, and credentials files are never overwritten: move it away, or name another --out", path)
	}
	return f, err
}

// issue writes credentials into a new file, which is removed when something fails.
func issue(path string, creds func() ([]byte, error)) (err error) {
	f, err := newFile(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	text, err := creds()
	if err == nil {
		_, err = f.Write(text)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// AuthInit makes the keys.
type AuthInit struct {
	authTarget
	External     bool `help:"For an engine on an external NATS server, whose configuration file has the accounts."`
	OperatorMode bool `help:"With --external: the server trusts the operator of these keys (operator mode)."`
}

// Validate refuses flags that do not fit.
func (c *AuthInit) Validate() error {
	if c.OperatorMode && !c.External {
		return errors.New("--operator-mode needs --external: the embedded server is always in operator mode")
	}
	return c.Target.Validate()
}

// external makes the keys for an external server.
func (c *AuthInit) external(out *Output) error {
	mode := auth.ConfigFile
	if c.OperatorMode {
		mode = auth.OperatorMode
	}
	if o, err := deployment.ReadOperator(c.Data); err == nil && o.Creds != "" {
		return fmt.Errorf("an engine serves %s with its embedded NATS server: stop it first, or name another --data", c.Data)
	}
	dir := embedded.KeysDir(c.Data)
	keys, err := c.openKeys(dir)
	if err == nil {
		err = keys.SetMode(mode)
	}
	if err != nil {
		return err
	}
	engine, flag := keys.EngineFile(mode), "--nats-creds"
	if mode == auth.ConfigFile {
		flag = "--nats-nkey"
	}
	return out.Result(struct {
		Dir      string    `json:"dir"`
		Mode     auth.Mode `json:"mode"`
		Engine   string    `json:"engine_creds"`
		Operator string    `json:"operator_creds"`
	}{dir, mode, engine, filepath.Join(dir, "operator.creds")}, func() {
		out.Printf("The keys are in %s; who can read it is the operator.\nAdd principals with 'engine auth add', configure the NATS server with what 'engine auth print-config' prints, "+
			"then serve with --nats URL %s %s --auth on.\n", dir, flag, engine)
	})
}

// Run implements the command.
func (c *AuthInit) Run(ctx context.Context, out *Output) error {
	if err := os.MkdirAll(c.Data, 0o755); err != nil {
		return err
	}
	if c.External {
		return c.external(out)
	}
	return c.with(ctx, func(_ context.Context, w *authWork) error {
		dir := embedded.KeysDir(c.Data)
		return out.Result(struct {
			Dir   string `json:"dir"`
			Creds string `json:"operator_creds"`
		}{dir, filepath.Join(dir, "operator.creds")}, func() {
			out.Printf("The keys are in %s; who can read it is the operator.\nAdd principals with 'engine auth add', then serve with --auth on.\n", dir)
		})
	})
}

// AuthAdd adds a principal.
type AuthAdd struct {
	authTarget
	Name   string `arg:"" help:"Name of the principal: 1 to 128 of A-Z a-z 0-9 _ -."`
	Role   string `required:"" help:"agent, worker, reader, operator, admin; none = only what is granted." placeholder:"ROLE"`
	Agents string `help:"Pattern of the agent ids that the role covers, like alice-*. Default: NAME for agents and workers, else *." placeholder:"PATTERN"`
	Out    string `help:"Credentials file to write; default: NAME.creds, or NAME.nk with an NKey seed for an external server with a configuration file." placeholder:"FILE"`
}

// Validate refuses what cannot be a principal.
func (c *AuthAdd) Validate() error {
	if err := c.Target.Validate(); err != nil || c.Role == "" { // the parser asks for the role
		return err
	}
	if c.Agents == "" {
		c.Agents = principals.DefaultAgents(c.Name, c.Role)
	}
	p := principals.Principal{Name: c.Name, Role: c.Role, Agents: c.Agents}
	return p.Check()
}

// Run implements the command.
func (c *AuthAdd) Run(ctx context.Context, out *Output) error {
	return c.with(ctx, func(ctx context.Context, w *authWork) error {
		if c.Out == "" {
			c.Out = c.Name + w.suffix()
		}
		var p principals.Principal
		err := issue(c.Out, func() (creds []byte, err error) {
			p, err = w.Add(ctx, identity.Operator, principals.Principal{Name: c.Name, Role: c.Role, Agents: c.Agents})
			if err != nil {
				return nil, err
			}
			if creds, err = w.keys.NewPrincipal(c.Name); errors.Is(err, auth.ErrExists) { // of an add that was interrupted
				creds, err = w.keys.Rotate(c.Name)
			}
			if err == nil && w.keys.Mode() != auth.Embedded {
				var account string
				if account, err = w.keys.Account(c.Name); err == nil {
					p, err = w.Bind(ctx, identity.Operator, c.Name, account)
				}
			}
			if err == nil {
				err = w.apply(ctx, p)
			}
			if err != nil {
				_, undone := w.Revoke(ctx, identity.Operator, c.Name)
				err = errors.Join(err, undone)
			}
			return creds, err
		})
		if err != nil {
			return err
		}
		return out.Result(show(p, c.Out), func() {
			out.Printf("Added %s with the role %s for the agents %s; its credentials are in %s.\n", p.Name, p.Role, p.Agents, c.Out)
			w.reload(out)
		})
	})
}

// AuthList lists the principals.
type AuthList struct{ authTarget }

// Run implements the command.
func (c *AuthList) Run(ctx context.Context, out *Output) error {
	return c.with(ctx, func(_ context.Context, w *authWork) error {
		all := w.All()
		if out.AsJSON {
			for _, p := range all {
				if err := out.JSON(show(p, "")); err != nil {
					return err
				}
			}
			return nil
		}
		if len(all) == 0 {
			out.Printf("There are no principals: engine auth add NAME --role ROLE\n")
			return nil
		}
		out.Table("NAME\tROLE\tAGENTS\tGRANTS\tSTATE", func(row func(string, ...any)) {
			for _, p := range all {
				state := "active"
				if p.Revoked {
					state = "revoked " + p.ChangedAt.Format(time.RFC3339)
				}
				row("%s\t%s\t%s\t%d\t%s", p.Name, p.Role, p.Agents, len(p.Grants), state)
			}
		})
		return nil
	})
}

// AuthName names a principal.
type AuthName struct {
	authTarget
	Name string `arg:"" help:"Name of the principal."`
}

// Validate refuses what cannot be a name.
func (c *AuthName) Validate() error {
	if err := c.Target.Validate(); err != nil {
		return err
	}
	return principals.CheckName(c.Name)
}

// AuthShow shows a principal.
type AuthShow struct{ AuthName }

// Run implements the command.
func (c *AuthShow) Run(ctx context.Context, out *Output) error {
	return c.with(ctx, func(_ context.Context, w *authWork) error {
		p, ok := w.Get(c.Name)
		if !ok {
			return fmt.Errorf("%w: %s (engine auth list)", principals.ErrUnknown, c.Name)
		}
		return out.Result(show(p, ""), func() { printPrincipal(out, &p) })
	})
}

func printPrincipal(out *Output, p *principals.Principal) {
	state := ""
	if p.Revoked {
		state = ", revoked " + p.ChangedAt.Format(time.RFC3339)
	}
	out.Printf("%s, role %s, agents %s%s\n", p.Name, p.Role, p.Agents, state)
	for _, g := range show(*p, "").Effective {
		out.Printf("  %s\n", g.String())
	}
}

// AuthGrant grants more.
type AuthGrant struct {
	AuthName
	Grant string `arg:"" help:"For example 'command agent:team set,merge', 'query agent:team.*', 'watch agent:team', 'admin dlq'."`
}

// Validate refuses what is no grant.
func (c *AuthGrant) Validate() error {
	if err := c.AuthName.Validate(); err != nil {
		return err
	}
	_, err := grants.Parse(c.Grant)
	return err
}

// Run implements the command.
func (c *AuthGrant) Run(ctx context.Context, out *Output) error {
	g, err := grants.Parse(c.Grant)
	if err != nil {
		return err
	}
	return c.with(ctx, func(ctx context.Context, w *authWork) error {
		p, err := w.Grant(ctx, identity.Operator, c.Name, g)
		if err == nil {
			err = w.apply(ctx, p)
		}
		if err != nil {
			return err
		}
		return out.Result(show(p, ""), func() { printPrincipal(out, &p) })
	})
}

// AuthRevoke revokes a principal.
type AuthRevoke struct{ AuthName }

// Run implements the command.
func (c *AuthRevoke) Run(ctx context.Context, out *Output) error {
	return c.with(ctx, func(ctx context.Context, w *authWork) error {
		p, err := w.Revoke(ctx, identity.Operator, c.Name)
		if err == nil {
			profile, _ := json.Marshal(p)          // it was JSON
			_ = w.keys.Apply(p.Name, nil, profile) // no keys: there is nothing to revoke
			if err = w.keys.Revoke(c.Name); errors.Is(err, auth.ErrUnknown) {
				err = nil
			} else if err == nil && w.push != nil {
				err = w.push(ctx, p.Name)
			}
		}
		if err != nil {
			return err
		}
		return out.Result(show(p, ""), func() {
			if w.keys.Mode() == auth.ConfigFile {
				out.Printf("Revoked %s: the engine refuses it.\n", p.Name)
				w.reload(out)
				return
			}
			out.Printf("Revoked %s: it may do nothing, and its connections are closed.\n", p.Name)
		})
	})
}

// AuthRotate makes new credentials.
type AuthRotate struct {
	AuthName
	Out string `help:"Credentials file to write; default: as for add." placeholder:"FILE"`
}

// Run implements the command.
func (c *AuthRotate) Run(ctx context.Context, out *Output) error {
	return c.with(ctx, func(ctx context.Context, w *authWork) error {
		if c.Out == "" {
			c.Out = c.Name + w.suffix()
		}
		var p principals.Principal
		err := issue(c.Out, func() (creds []byte, err error) {
			if p, err = w.Rotated(ctx, identity.Operator, c.Name); err != nil {
				return nil, err
			}
			if creds, err = w.keys.Rotate(c.Name); err == nil {
				err = w.apply(ctx, p)
			}
			return creds, err
		})
		if err != nil {
			return err
		}
		return out.Result(show(p, c.Out), func() {
			if w.keys.Mode() == auth.ConfigFile {
				out.Printf("The new credentials of %s are in %s; the ones before end with the reload.\n", p.Name, c.Out)
				w.reload(out)
				return
			}
			out.Printf("The new credentials of %s are in %s; the ones before have ended.\n", p.Name, c.Out)
		})
	})
}

// AuthLog prints the audit.
type AuthLog struct{ authTarget }

// Run implements the command.
func (c *AuthLog) Run(ctx context.Context, out *Output) error {
	return c.with(ctx, func(ctx context.Context, w *authWork) error {
		s, ok := w.store.(*principals.Store)
		if !ok {
			return fmt.Errorf("%w: the audit is on the NATS server of the engine, which does not run", deployment.ErrUnreachable)
		}
		err := s.Read(ctx, 0, func(e *principals.Entry) error {
			if out.AsJSON {
				return out.Document(e.Body)
			}
			out.Printf("%6d  %s  %-18s %s by %s  %s\n", e.Sequence, e.RecordedAt.Format(time.RFC3339), e.Type, e.ID, e.Actor, strings.TrimSpace(string(e.Data)))
			return nil
		})
		if err != nil {
			return err
		}
		_, err = s.Verify(ctx)
		return err
	})
}

// AuthPrint prints the configuration of an external server. It needs the keys alone.
type AuthPrint struct {
	authTarget
	OperatorMode bool   `help:"The server trusts the operator of the keys, and new principals need no reload."`
	ServerName   string `help:"Name of the server; each of a cluster has its own." default:"tidemark" placeholder:"NAME"`
	Listen       string `help:"Address for clients." default:"127.0.0.1:4222" placeholder:"ADDR"`
	StoreDir     string `help:"Directory of JetStream; the accounts of operator mode are beside it." default:"./nats-data" placeholder:"DIR"`
}

// Run implements the command.
func (c *AuthPrint) Run(_ context.Context, out *Output) error {
	dir := embedded.KeysDir(c.Data)
	if !auth.Exists(dir) {
		return fmt.Errorf("%s has no keys: make them with 'engine auth init --external'", c.Data)
	}
	if _, err := c.Find(); err != nil && !errors.Is(err, deployment.ErrUnreachable) { // it knows the subject prefix
		return err
	}
	keys, err := c.openKeys(dir)
	if err != nil {
		return err
	}
	mode := auth.ConfigFile
	if c.OperatorMode {
		mode = auth.OperatorMode
	}
	text, err := keys.PrintConfig(mode, auth.ServerConfig{
		Name: c.ServerName, Listen: c.Listen, Store: filepath.Join(c.StoreDir, "jetstream"), Accounts: filepath.Join(c.StoreDir, "accounts"), MaxPayload: embedded.MaxPayload,
	})
	if err != nil {
		return err
	}
	result := struct {
		Mode   auth.Mode `json:"mode"`
		Engine string    `json:"engine_creds"`
		Config string    `json:"config"`
	}{mode, keys.EngineFile(mode), text}
	return out.Result(result, func() { fmt.Fprint(out, text) })
}
