package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/projections"
)

// View adds, lists, shows and removes declared views.
type View struct {
	Add    ViewAdd    `cmd:"" help:"Define a view from a file."`
	List   ViewList   `cmd:"" help:"List the views."`
	Show   ViewShow   `cmd:"" help:"Print the definition of a view."`
	Remove ViewRemove `cmd:"" help:"Remove a view, with its table and bucket."`
}

// ViewAdd defines a view.
type ViewAdd struct {
	deployment.Target
	File            string  `arg:"" help:"The definition, in YAML or JSON; - reads standard input."`
	ExpectedVersion *uint64 `help:"Replace another definition of the view, which must have this version; 0 = there must be no such view." placeholder:"N"`
	ID              *string `help:"Command id; default: the engine makes one." placeholder:"ID"`
	DryRun          bool    `help:"Check the file and print the definition as the engine would keep it; change nothing."`
}

// Run implements the command.
func (c *ViewAdd) Run(ctx context.Context, out *Output) error {
	d, err := readDefinition(c.File)
	if err != nil {
		return err
	}
	if c.DryRun {
		return out.Document(d.Canonical())
	}
	body := d.Canonical()
	if v := c.ExpectedVersion; v != nil {
		body = append(body[:len(body)-1], `,"expected_version":`+strconv.FormatUint(*v, 10)+`}`...)
	}
	return sendView(ctx, &c.Target, d.Name+".define", c.ID, string(body), out)
}

func sendView(ctx context.Context, t *deployment.Target, what string, id *string, body string, out *Output) error {
	if _, err := t.Find(); err != nil {
		return err
	}
	msg := nats.NewMsg(t.Subject("commands.view." + what))
	setID(msg, id)
	return request(ctx, t, msg, body, instant{}, out)
}

// ViewRemove removes a view.
type ViewRemove struct {
	viewName
	ID *string `help:"Command id; default: the engine makes one." placeholder:"ID"`
}

// Run implements the command.
func (c *ViewRemove) Run(ctx context.Context, out *Output) error {
	return sendView(ctx, &c.Target, c.Name+".remove", c.ID, "{}", out)
}

// viewName names a view.
type viewName struct {
	deployment.Target
	Name string `arg:"" help:"Name of the view."`
}

// Validate refuses what cannot be a name.
func (c *viewName) Validate() error {
	if err := c.Target.Validate(); err != nil {
		return err
	}
	if err := view.CheckName(c.Name); err != nil {
		return errors.New(domain.PublicText(err))
	}
	return nil
}

// viewRow is a view as the engine answers it.
type viewRow struct {
	Name string `json:"name"`
	view.View
	Version uint64 `json:"version"`
}

// ViewList lists the views.
type ViewList struct {
	deployment.Target
	All bool `help:"Also views that were removed."`
}

// Run implements the command.
func (c *ViewList) Run(ctx context.Context, out *Output) error {
	nc, err := c.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	var rows []json.RawMessage
	ask := map[string]any{"limit": 1000}
	if !c.All {
		ask["status"] = view.Defined
	}
	for page := (struct {
		Views  []json.RawMessage `json:"views"`
		Cursor string            `json:"cursor"`
	}{Cursor: "-"}); page.Cursor != ""; ask["cursor"] = page.Cursor {
		page.Cursor = ""
		if err := askView(ctx, nc, &c.Target, "queries.views.list", ask, &page); err != nil {
			return err
		}
		rows = append(rows, page.Views...)
	}
	if out.AsJSON {
		for _, row := range rows {
			if err := out.Document(row); err != nil {
				return err
			}
		}
		return nil
	}
	if len(rows) == 0 {
		out.Printf("There are no views: engine view add FILE\n")
		return nil
	}
	out.Table("NAME\tFROM\tAGENTS\tKEYS\tINTO\tVERSION\tSTATUS\tSINCE", func(line func(string, ...any)) {
		for _, text := range rows {
			var row viewRow
			if err = json.Unmarshal(text, &row); err != nil {
				return
			}
			d, since := &row.Definition, row.DefinedAt
			if row.Status == view.Removed {
				since = row.RemovedAt
			}
			line("%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s", row.Name, d.From, cmp.Or(d.Agents, "*"), cmp.Or(d.Keys, "*"), strings.Join(d.Into, ","), row.Version, row.Status,
				since.Format(time.RFC3339))
		}
	})
	return err
}

// askView asks a query and decodes its answer.
func askView(ctx context.Context, nc *nats.Conn, t *deployment.Target, query string, body, into any) error {
	msg := nats.NewMsg(t.Subject(query))
	var err error
	if msg.Data, err = encodeJSON(body); err != nil {
		return err
	}
	answer, err := deployment.Ask(ctx, nc, t.Timeout, msg)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// ViewShow prints the definition of a view.
type ViewShow struct {
	viewName
	InstantFlags
}

// Validate refuses what no query accepts.
func (c *ViewShow) Validate() error {
	if err := c.viewName.Validate(); err != nil {
		return err
	}
	return c.InstantFlags.Validate()
}

// Run implements the command.
func (c *ViewShow) Run(ctx context.Context, out *Output) error {
	nc, err := c.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	msg := nats.NewMsg(c.Subject("queries.view." + c.Name + ".definition"))
	at := c.when()
	if msg.Data, err = at.into([]byte("{}")); err != nil {
		return err
	}
	answer, err := deployment.Ask(ctx, nc, c.Timeout, msg)
	if err != nil || out.AsJSON {
		if err == nil {
			err = out.Document(answer)
		}
		return err
	}
	var row viewRow
	if err := json.Unmarshal(answer, &row); err != nil {
		return err
	}
	text, err := viewYAML(row.Definition)
	if err != nil {
		return err
	}
	by := ""
	if row.SetBy != "" {
		by = " by " + row.SetBy
	}
	out.Printf("# %s, version %d, defined %s%s\n", row.Name, row.Version, row.DefinedAt.Format(time.RFC3339), by)
	if row.Status == view.Removed {
		out.Printf("# removed %s\n", row.RemovedAt.Format(time.RFC3339))
	} else if at.name == "" {
		c.printState(ctx, nc, out)
	}
	for line := range strings.Lines(string(text)) {
		out.Printf("%s\n", strings.TrimSuffix(line, "\n"))
	}
	return nil
}

// printState prints how far the view is, if the engine says so: not to principals without
// that right.
func (c *ViewShow) printState(ctx context.Context, nc *nats.Conn, out *Output) {
	for range 30 { // a view that was just defined, or whose rows are swapped, has none for a moment
		s, _, err := c.Target.Status(ctx, nc)
		if err != nil || len(s.Views) == 0 {
			return
		}
		if c.printRows(s.Views, out) || wait.Sleep(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
	out.Printf("# rows: this engine has not begun to build them\n")
}

// printRows prints the lines of the view, and reports whether there are any.
func (c *ViewShow) printRows(views []projections.Status, out *Output) (printed bool) {
	for _, v := range views {
		name, building := strings.CutSuffix(v.Name, ".next")
		if name != declared.ViewPrefix+c.Name {
			continue
		}
		what := "rows"
		if building {
			what = "rows of the new definition"
		}
		out.Printf("# %s, partition %d: %s, %s behind %s\n", what, v.Partition, v.State, counted.Of(v.LagEvents, "event"), v.Reason)
		printed = true
	}
	return printed
}
