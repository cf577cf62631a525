package cli

import (
	"context"
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
	Init   AuthInit   `cmd:"" help:"Make the keys of a data directory."`
	Add    AuthAdd    `cmd:"" help:"Add a principal and write its credentials file."`
	List   AuthList   `cmd:"" help:"List the principals."`
	Show   AuthShow   `cmd:"" help:"Show what a principal may do."`
	Grant  AuthGrant  `cmd:"" help:"Grant a principal more than its role does."`
	Revoke AuthRevoke `cmd:"" help:"Take all grants from a principal and end its credentials."`
	Rotate AuthRotate `cmd:"" help:"Write new credentials of a principal; the ones before end at once."`
	Log    AuthLog    `cmd:"" help:"Print the audit: changes of principals, refusals and what operators did; checks its digests."`
}

// authWork is what the subcommands of auth work on.
type authWork struct {
	*principals.Store
	keys  *auth.Authority // nil = an external server, whose accounts its own tools make
	close func()
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
		if s.NATS.Embedded() {
			w.keys, err = auth.Open(auth.Config{Dir: embedded.KeysDir(s.Data), Prefix: c.Subjects().Root("")})
		}
	case errors.Is(noted, fs.ErrNotExist):
		if nc, err = c.start(w); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("read the engine's address in %s: %w", c.Data, noted)
	}
	if err == nil {
		w.Store, err = principals.Open(ctx, nc, c.Subjects(), nil, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
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

// feeds lets a principal hear the feeds that its grants cover.
func (w *authWork) feeds(p principals.Principal) error {
	set, err := p.Set()
	if err != nil || set == nil || w.keys == nil {
		return err
	}
	return w.keys.SetFeeds(p.Name, set.Feeds())
}

var errExternal = errors.New("the engine runs on an external NATS server: its accounts and credentials are made with that server's tools (docs/howto/external-nats.md)")

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
type AuthInit struct{ authTarget }

// Run implements the command.
func (c *AuthInit) Run(ctx context.Context, out *Output) error {
	if err := os.MkdirAll(c.Data, 0o755); err != nil {
		return err
	}
	return c.with(ctx, func(_ context.Context, w *authWork) error {
		if w.keys == nil {
			return errExternal
		}
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
	Out    string `help:"Credentials file to write; default: NAME.creds." placeholder:"FILE"`
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
	if c.Out == "" {
		c.Out = c.Name + ".creds"
	}
	return c.with(ctx, func(ctx context.Context, w *authWork) error {
		if w.keys == nil {
			return errExternal
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
			if err == nil {
				err = w.feeds(p)
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
		p, err := w.Store.Grant(ctx, identity.Operator, c.Name, g)
		if err == nil {
			err = w.feeds(p)
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
		if err == nil && w.keys != nil {
			if err = w.keys.Revoke(c.Name); errors.Is(err, auth.ErrUnknown) {
				err = nil
			}
		}
		if err != nil {
			return err
		}
		return out.Result(show(p, ""), func() { out.Printf("Revoked %s: it may do nothing, and its connections are closed.\n", p.Name) })
	})
}

// AuthRotate makes new credentials.
type AuthRotate struct {
	AuthName
	Out string `help:"Credentials file to write; default: NAME.creds." placeholder:"FILE"`
}

// Run implements the command.
func (c *AuthRotate) Run(ctx context.Context, out *Output) error {
	if c.Out == "" {
		c.Out = c.Name + ".creds"
	}
	return c.with(ctx, func(ctx context.Context, w *authWork) error {
		if w.keys == nil {
			return errExternal
		}
		var p principals.Principal
		err := issue(c.Out, func() (creds []byte, err error) {
			if p, err = w.Rotated(ctx, identity.Operator, c.Name); err != nil {
				return nil, err
			}
			return w.keys.Rotate(c.Name)
		})
		if err != nil {
			return err
		}
		return out.Result(show(p, c.Out), func() {
			out.Printf("The new credentials of %s are in %s; the ones before have ended.\n", p.Name, c.Out)
		})
	})
}

// AuthLog prints the audit.
type AuthLog struct{ authTarget }

// Run implements the command.
func (c *AuthLog) Run(ctx context.Context, out *Output) error {
	return c.with(ctx, func(ctx context.Context, w *authWork) error {
		err := w.Read(ctx, 0, func(e *principals.Entry) error {
			if out.AsJSON {
				return out.Document(e.Body)
			}
			out.Printf("%6d  %s  %-18s %s by %s  %s\n", e.Sequence, e.RecordedAt.Format(time.RFC3339), e.Type, e.ID, e.Actor, strings.TrimSpace(string(e.Data)))
			return nil
		})
		if err != nil {
			return err
		}
		_, err = w.Verify(ctx)
		return err
	})
}
