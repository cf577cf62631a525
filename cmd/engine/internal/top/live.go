package top

import (
	"context"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Once takes two looks an interval apart and returns the snapshot.
func Once(ctx context.Context, from Source, interval time.Duration) (*Snapshot, error) {
	before, err := from.look(ctx)
	if err != nil {
		return nil, err
	}
	if before.metrics == nil { // a second look has no rates either
		return compare(nil, before), nil
	}
	pause := time.NewTimer(interval)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now, err := from.look(ctx)
	if err != nil {
		return nil, err
	}
	return compare(before, now), nil
}

// Live shows snapshots on a terminal until the user quits or ctx ends.
func Live(ctx context.Context, from Source, interval time.Duration, in io.Reader, out io.Writer, escape func(string) string) error {
	p := tea.NewProgram(&page{ctx: ctx, from: from, interval: interval, escape: escape},
		tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out))
	_, err := p.Run()
	if ctx.Err() != nil { // the end was asked for
		return nil
	}
	return err
}

// page is the model of the live view.
type page struct {
	ctx      context.Context //nolint:containedctx // bubbletea's commands take none
	from     Source
	interval time.Duration
	escape   func(string) string

	before *look
	shown  *Snapshot
	failed error
	width  int
	height int
}

// looked is the result of a look.
type looked struct {
	look *look
	err  error
}

type due struct{}

// Init implements tea.Model.
func (p *page) Init() tea.Cmd { return p.look }

func (p *page) look() tea.Msg {
	l, err := p.from.look(p.ctx)
	return looked{l, err}
}

// Update implements tea.Model.
func (p *page) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "ctrl+c", "esc":
			return p, tea.Quit
		}
	case tea.WindowSizeMsg:
		p.width, p.height = msg.Width, msg.Height
	case looked:
		if p.failed = msg.err; msg.err == nil {
			p.shown, p.before = compare(p.before, msg.look), msg.look
		}
		return p, tea.Tick(p.interval, func(time.Time) tea.Msg { return due{} })
	case due:
		return p, p.look
	}
	return p, nil
}

// View implements tea.Model.
func (p *page) View() tea.View {
	c := coloured()
	text := "asking the engine …\n"
	if p.shown != nil {
		text = p.shown.render(c, p.escape)
	}
	foot := c.faint.Render("q quits")
	if p.failed != nil {
		foot = c.bad.Render(p.escape(p.failed.Error())) + "  " + foot
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if room := p.height - 2; room > 0 && len(lines) > room {
		lines = lines[:room]
	}
	v := tea.NewView(strings.Join(lines, "\n") + "\n\n" + foot)
	v.AltScreen = true
	return v
}
