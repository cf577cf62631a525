package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// written is one value that an agent set, with its version and revision.
type written struct {
	step, line int
	key, id    string
	value      []byte
	version    uint64
	revision   uint64
	token      string
}

// player plays recorded runs, all at the same time.
type player struct {
	links *links
	pace  time.Duration
	bar   *cli.Progress

	mu        sync.Mutex
	latencies []time.Duration
	writes    map[string][]written // by agent, in order
}

// runsResult is what --json prints.
type runsResult struct {
	Demo     string     `json:"demo"`
	Input    string     `json:"input"`
	Agents   []runAgent `json:"agents"`
	Steps    int        `json:"steps"`
	Bytes    int        `json:"bytes"` // of values
	Sent     speed      `json:"sent"`
	Versions int        `json:"versions_in_journal"` // compared one by one
	comparison
	Seconds float64 `json:"seconds"`
}

type runAgent struct {
	ID     string `json:"agent_id"`
	Source string `json:"source"`
	Steps  int    `json:"steps"`
	Writes int    `json:"writes"`
}

// play plays the runs, reads every value back and prints the history of one agent.
func (c *Demo) play(ctx context.Context, out *cli.Output, l *links, runs []*agentRun, began time.Time) error {
	rd, err := newReader(ctx, l)
	if err != nil {
		return err
	}
	p := &player{links: l, pace: c.Pace, writes: map[string][]written{}}
	sent, err := p.run(ctx, runs)
	if err != nil {
		return err
	}
	rd.places = p.places(runs)
	readings, err := rd.all(ctx)
	if err != nil {
		return err
	}
	r := &runsResult{Demo: "runs", Input: c.Input, Sent: sent, comparison: compare(readings, p.last())}
	r.Differences = append(r.Differences, p.compareVersions(runs, rd.history)...)
	r.Equal = len(r.Differences) == 0
	for _, run := range runs {
		r.count(run, p.writes[run.agent])
	}
	r.Seconds = time.Since(began).Seconds()
	if err := out.Result(r, func() { c.printRuns(out, r) }); err != nil {
		return err
	}
	if !out.AsJSON {
		if err := c.printTimeline(ctx, out, l, p.writes[c.Agent]); err != nil {
			return err
		}
		c.printNext(out, c.Agent, "action")
	}
	if !r.Equal {
		return cli.ErrFailed // the differences are printed
	}
	return nil
}

func (p *player) run(ctx context.Context, runs []*agentRun) (speed, error) {
	total := 0
	for _, r := range runs {
		for _, s := range r.steps {
			total += len(s.fields)
		}
	}
	start := time.Now()
	p.bar = cli.NewProgress(total, "values of "+strconv.Itoa(len(runs))+" agents", "values")
	defer p.bar.End()
	err := each(ctx, len(runs), len(runs), func(ctx context.Context, i int) error {
		if err := p.agent(ctx, i, runs[i]); err != nil {
			return fmt.Errorf("agent %s: %w", runs[i].agent, err)
		}
		return nil
	})
	return measured(p.latencies, time.Since(start), p.links.again.Load()), err
}

// agent plays one run step by step. Each write expects the version of the
// agent's previous write: the only writer of a key has no conflict.
func (p *player) agent(ctx context.Context, conn int, run *agentRun) error {
	versions := map[string]uint64{}
	for i, s := range run.steps {
		if i > 0 && p.pace > 0 {
			if _ = wait.Sleep(ctx, p.pace/2+rand.N(p.pace)); ctx.Err() != nil {
				return ctx.Err()
			}
		}
		for _, f := range s.fields {
			expected, known := versions[f.key]
			if !known {
				e, _, err := p.links.get(ctx, conn, place{agent: run.agent, key: f.key}, "strong")
				if err != nil {
					return err
				}
				expected = e.Version // 0 = there is none
			}
			w, err := p.write(ctx, conn, run.agent, f, expected)
			if err != nil {
				return fmt.Errorf("line %d, %s: %w", s.line, f.key, err)
			}
			w.step, w.line = s.step, s.line
			versions[f.key] = w.version
			p.mu.Lock()
			p.writes[run.agent] = append(p.writes[run.agent], w)
			p.mu.Unlock()
		}
	}
	return nil
}

func (p *player) write(ctx context.Context, conn int, agent string, f runField, expected uint64) (written, error) {
	body := fmt.Appendf(nil, `{"key":%q,"strategy":"last_write_wins","expected_version":%d,"writer":%q,"value":`, f.key, expected, agent)
	body = append(append(body, f.value...), '}')
	w := written{key: f.key, id: ulid.Make().String(), value: f.value}
	start := time.Now()
	r, err := p.links.send(ctx, conn, agent, "set", w.id, body)
	var no *wireError
	if errors.As(err, &no) && no.Kind == "conflict" {
		err = fmt.Errorf("%w: another program writes as this agent; --run NAME plays with other ids", err)
	}
	if err != nil {
		return w, err
	}
	p.bar.Step()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latencies = append(p.latencies, time.Since(start))
	w.version, w.revision, w.token = r.Version, r.Revision, r.Token
	return w, nil
}

// places are the written entries; the last one of each agent is the one that was
// written last, as reader.firsts requires.
func (p *player) places(runs []*agentRun) (all []place) {
	for _, run := range runs {
		writes := p.writes[run.agent]
		last := writes[len(writes)-1]
		seen := map[string]bool{last.key: true}
		for _, w := range writes {
			if !seen[w.key] {
				seen[w.key] = true
				all = append(all, place{run.agent, w.key, last.token})
			}
		}
		all = append(all, place{run.agent, last.key, last.token})
	}
	return all
}

// last are the expected rows at the end.
func (p *player) last() rows {
	r := rows{}
	for agent, writes := range p.writes {
		for _, w := range writes {
			r[agent+"."+w.key] = readmodel.Entry{Agent: agent, Key: w.key, Value: w.value, Version: w.version, Revision: w.revision}
		}
	}
	return r
}

// compareVersions compares every version in the journal with the values sent, in
// order.
func (p *player) compareVersions(runs []*agentRun, h entryHistory) (all []difference) {
	for _, run := range runs {
		next := map[string]int{}
		for _, w := range p.writes[run.agent] {
			name := run.agent + "." + w.key
			i := next[w.key]
			next[w.key]++
			what := "is missing"
			if i < len(h[name]) {
				what = differWritten(&w, &h[name][i])
			}
			if what != "" {
				all = append(all, difference{"journal", name, fmt.Sprintf("version %d (line %d): %s", w.version, w.line, what)})
			}
		}
		for key, n := range next {
			if more := len(h[run.agent+"."+key]) - n; more > 0 {
				all = append(all, difference{"journal", run.agent + "." + key, fmt.Sprintf("versions that were not sent from here: %d", more)})
			}
		}
	}
	return all
}

func differWritten(w *written, got *readmodel.EntryChange) string {
	switch {
	case got.Deleted || got.Version != w.version || got.Revision != w.revision:
		return fmt.Sprintf("the journal has version %d at revision %d instead", got.Version, got.Revision)
	case !bytes.Equal(got.Value, w.value):
		return differBytes(w.value, got.Value)
	}
	return ""
}

func (r *runsResult) count(run *agentRun, writes []written) {
	r.Agents = append(r.Agents, runAgent{ID: run.agent, Source: run.source, Steps: len(run.steps), Writes: len(writes)})
	r.Steps += len(run.steps)
	r.Versions += len(writes)
	for _, w := range writes {
		r.Bytes += len(w.value)
	}
}

func (c *Demo) printRuns(w *cli.Output, r *runsResult) {
	w.Printf("%s played %s from %s at the same time:\n", counted.Of(len(r.Agents), "agent"), counted.Of(r.Steps, "step"), r.Input)
	w.Printf("  %s %s, %s bytes, none in conflict\n  %s\n", cli.Grouped(r.Sent.Commands), counted.Noun(r.Sent.Commands, "value"), cli.Grouped(r.Bytes), r.Sent)
	w.Printf("\nEvery value, read back and compared byte for byte with what was sent:\n")
	r.comparison.print(w)
	if !r.Equal {
		w.Printf("NOT EQUAL: %s %s.\n", cli.Grouped(len(r.Differences)), counted.Noun(len(r.Differences), "difference"))
		r.printDifferences(w)
		return
	}
	w.Printf("All equal: the last value of each entry in every tier, and in the journal all %s versions in their order.\n", cli.Grouped(r.Versions))
	w.Printf("  %.1f s in all\n", r.Seconds)
}
