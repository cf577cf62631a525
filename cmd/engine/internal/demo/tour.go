package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
)

// concurrentAgents is how many agents of the tour work at the same time.
const concurrentAgents = 24

// tour is one run. Its agents have new names, so that it works on an engine that
// has data.
type tour struct {
	links  *links
	prefix string    // of the agents' ids
	zero   time.Time // of the agents' clock
	bar    *cli.Progress

	mu        sync.Mutex
	outcomes  map[string]int
	latencies []time.Duration
	odd       []string // unexpected outcomes
	tokens    map[string]string
}

// tourResult is what --json prints.
type tourResult struct {
	Demo     string         `json:"demo"`
	Run      string         `json:"run"` // prefix of the agents' ids
	Agents   int            `json:"agents"`
	Sent     speed          `json:"sent"`
	Outcomes map[string]int `json:"outcomes"`
	Odd      []string       `json:"unexpected,omitempty"`
	comparison
	Seconds float64 `json:"seconds"`
}

func (c *Demo) tour(ctx context.Context, out *cli.Output, l *links, began time.Time) error {
	rd, err := newReader(ctx, l)
	if err != nil {
		return err
	}
	t := &tour{
		links: l, prefix: "demo-" + strings.ToLower(ulid.Make().String()[18:]),
		zero:     time.Now().UTC().Add(-time.Hour),
		outcomes: map[string]int{}, tokens: map[string]string{},
	}
	sent, err := t.run(ctx, c.Agents)
	if err != nil {
		return fmt.Errorf("the tour failed: %w", err)
	}
	for i := range c.Agents {
		for _, key := range scriptKeys() {
			rd.places = append(rd.places, place{agent: t.agent(i), key: key, token: t.tokens[t.agent(i)]})
		}
	}
	readings, err := rd.all(ctx)
	if err != nil {
		return err
	}
	r := &tourResult{
		Demo: "tour", Run: t.prefix, Agents: c.Agents, Sent: sent, Outcomes: t.outcomes, Odd: t.odd,
		comparison: compare(readings, readings[len(readings)-1].rows), Seconds: time.Since(began).Seconds(),
	}
	if err := out.Result(r, func() { c.printTour(out, r, rd, t) }); err != nil {
		return err
	}
	if len(r.Odd) > 0 || !r.Equal {
		return cli.ErrFailed // the failures are printed
	}
	return nil
}

func (t *tour) agent(i int) string { return fmt.Sprintf("%s-%03d", t.prefix, i) }

// run sends the whole script for every agent.
func (t *tour) run(ctx context.Context, agents int) (speed, error) {
	start := time.Now()
	t.bar = cli.NewProgress(agents*scriptLength(), "commands", "commands")
	defer t.bar.End()
	err := each(ctx, agents, concurrentAgents, t.act)
	return measured(t.latencies, time.Since(start), t.links.again.Load()), err
}

// act plays the script of one agent, over changing connections.
func (t *tour) act(ctx context.Context, i int) error {
	agent, newest := t.agent(i), receipt{}
	var last command
	for n := range script {
		m := &script[n]
		commands := m.commands(agent, t.zero)
		if m.again {
			commands = []command{{verb: last.verb, id: last.id, body: last.body, again: true}}
		}
		last = commands[len(commands)-1]
		got := map[string]int{}
		var mu sync.Mutex
		err := each(ctx, len(commands), len(commands), func(ctx context.Context, racer int) error {
			r, outcome, err := t.send(ctx, i+n+racer, agent, commands[racer])
			mu.Lock()
			defer mu.Unlock()
			got[outcome]++
			if r.Revision > newest.Revision {
				newest = r
			}
			return err
		})
		if err != nil {
			return err
		}
		t.note(agent, newest, m.check(got))
	}
	return nil
}

// command is one message of the tour.
type command struct {
	verb, id string
	body     []byte
	again    bool // it repeats a command
}

func (m *move) commands(agent string, zero time.Time) []command {
	all := make([]command, max(m.racers, 1))
	for racer := range all {
		all[racer] = command{verb: m.verb, id: ulid.Make().String(), body: m.body(agent, racer, zero)}
	}
	return all
}

// send sends one command and returns its outcome; a 409 is not an error here.
func (t *tour) send(ctx context.Context, conn int, agent string, c command) (r receipt, outcome string, err error) {
	start := time.Now()
	r, err = t.links.send(ctx, conn, agent, c.verb, c.id, c.body)
	took := time.Since(start)
	outcome = r.Outcome
	var no *wireError
	switch {
	case errors.As(err, &no) && no.Kind == "conflict":
		outcome, err = "rejected", nil
	case err != nil:
		return r, "", err
	case c.again && r.Replayed:
		outcome = "replayed"
	}
	t.bar.Step()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outcomes[outcome]++
	t.latencies = append(t.latencies, took)
	return r, outcome, nil
}

func (t *tour) note(agent string, newest receipt, odd string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tokens[agent] = newest.Token
	if odd != "" {
		t.odd = append(t.odd, agent+": "+odd)
	}
}
