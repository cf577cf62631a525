package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	"github.com/tidemark-engine/tidemark/internal/grants"
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

// AuthAdd adds a principal.
type AuthAdd struct {
	authTarget
	Name   string  `arg:"" help:"Name of the principal: 1 to 128 of A-Z a-z 0-9 _ -."`
	Role   string  `required:"" help:"agent, worker, reader, operator, admin; none = only what is granted." placeholder:"ROLE"`
	Agents *string `help:"Pattern of the agent ids that the role covers, like alice-*. Default: NAME for agents, workers and none, else *." placeholder:"PATTERN"`
	Out    string  `help:"Credentials file to write; default: NAME.creds, or NAME.nk with an NKey seed for an external server with a configuration file." placeholder:"FILE"`
}

// Validate refuses what cannot be a principal.
func (c *AuthAdd) Validate() error {
	if err := c.Target.Validate(); err != nil || c.Role == "" { // the parser asks for the role
		return err
	}
	p := c.principal()
	return p.Check()
}

// principal is the one to add. A pattern that is there and empty, as from a variable that is
// not set, is refused, and is not every agent.
func (c *AuthAdd) principal() principals.Principal {
	p := principals.Principal{Name: c.Name, Role: c.Role, Agents: principals.DefaultAgents(c.Name, c.Role)}
	if c.Agents != nil {
		p.Agents = *c.Agents
	}
	return p
}

// Run implements the command.
func (c *AuthAdd) Run(ctx context.Context, out *Output) error {
	c.makes = true
	return c.with(ctx, func(ctx context.Context, w *authWork) error {
		if c.Out == "" {
			c.Out = c.Name + w.suffix()
		}
		var p principals.Principal
		err := issue(c.Out, func() (creds []byte, err error) {
			p, err = w.Add(ctx, c.Actor(), c.principal())
			if errors.Is(err, principals.ErrExists) {
				return nil, fmt.Errorf("%w; 'engine auth rotate %s' writes new credentials of it", err, c.Name)
			}
			if err != nil {
				return nil, err
			}
			creds, p, err = w.credentials(ctx, c.Actor(), p)
			if err != nil {
				_, undone := w.Revoke(ctx, c.Actor(), c.Name)
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
		p, err := w.Grant(ctx, c.Actor(), c.Name, g)
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
		ended := w.ending(c.Name)
		p, err := w.Revoke(ctx, c.Actor(), c.Name)
		if was, found := w.Get(c.Name); errors.Is(err, principals.ErrUnknown) && found { // what an interrupted revoke left is to be done
			p, err = was, nil
		}
		if err == nil {
			err = w.end(ctx, p)
		}
		if err == nil {
			err = ended(ctx)
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
		ended := w.ending(c.Name)
		var p principals.Principal
		err := issue(c.Out, func() (creds []byte, err error) {
			if p, err = w.Rotated(ctx, c.Actor(), c.Name); err != nil {
				return nil, err
			}
			creds, p, err = w.credentials(ctx, c.Actor(), p)
			return creds, err
		})
		if err == nil { // the new file stays
			err = ended(ctx)
		}
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
