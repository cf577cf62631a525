package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
)

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

// AuthLog prints the audit.
type AuthLog struct{ authTarget }

// Run implements the command.
func (c *AuthLog) Run(ctx context.Context, out *Output) error {
	return c.with(ctx, func(ctx context.Context, w *authWork) error {
		s, ok := w.store.(*principals.Store)
		if !ok {
			return fmt.Errorf("%w: the audit is on the NATS server of the engine, which does not run", deployment.ErrUnreachable)
		}
		none := true
		err := s.Read(ctx, 0, func(e *principals.Entry) error {
			none = false
			if out.AsJSON {
				return out.Document(e.Body)
			}
			out.Printf("%6d  %s  %-18s %s by %s  %s\n", e.Sequence, e.RecordedAt.Format(time.RFC3339), e.Type, e.ID, e.Actor, strings.TrimSpace(string(e.Data)))
			return nil
		})
		if err != nil {
			return err
		}
		if none && !out.AsJSON {
			out.Printf("The audit has no entry.\n")
		}
		_, err = s.Verify(ctx)
		return err
	})
}
