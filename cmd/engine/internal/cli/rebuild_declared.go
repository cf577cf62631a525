package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/infra/pg/declared"
)

// declaredViews is the name of all declared views together.
const declaredViews = "views"

// isDeclared reports whether a name is that of a declared view, or of all.
func isDeclared(view string) bool {
	return view == declaredViews || strings.HasPrefix(view, declared.ViewPrefix) && len(view) > len(declared.ViewPrefix)
}

// rebuiltDeclared is the report about one declared view.
type rebuiltDeclared struct {
	View    string  `json:"view"`
	Rows    int64   `json:"rows"`
	Seconds float64 `json:"seconds"`
}

// declared rebuilds the declared views that the command names.
func (c *rebuilding) declared(ctx context.Context) error {
	if c.stores.DB == nil {
		return c.withoutSQL()
	}
	names, err := c.stores.DeclaredViews(ctx)
	if err != nil {
		return err
	}
	if name, one := strings.CutPrefix(c.View, declared.ViewPrefix); one {
		names = slices.DeleteFunc(names, func(n string) bool { return n != name })
		if len(names) == 0 {
			names = []string{name} // is refused with the reason
		}
	}
	for _, name := range names {
		view := declared.ViewPrefix + name
		if c.Plan {
			if err := c.planFold(ctx, view, "the tables replace the live ones in one transaction; reads go on as before"); err != nil {
				return err
			}
			continue
		}
		began, show := time.Now(), c.steps()
		n, err := c.stores.RebuildDeclared(ctx, name, c.Accept, show.step)
		show.bar.End()
		if err != nil {
			return err
		}
		r := rebuiltDeclared{view, n, time.Since(began).Seconds()}
		if c.out.AsJSON {
			err = c.out.JSON(r)
		} else {
			c.out.Printf("%-11s rebuilt in %s: %s rows\n", r.View, seconds(r.Seconds), Grouped(int(r.Rows)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
