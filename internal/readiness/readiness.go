// Package readiness collects what prevents an engine from its work. Components set
// or probe their state; /readyz, /healthz, the status and the metrics read it.
package readiness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Level is what a problem prevents.
type Level int

// Levels of a component.
const (
	OK       Level = iota
	Degraded       // commands are executed; something else is late or missing
	NotReady       // commands fail: /readyz is 503
	Failed         // the engine cannot recover by itself: /healthz is 503 too
)

var levels = [...]string{"ok", "degraded", "not_ready", "failed"}

// String returns the name of the level as the status shows it.
func (l Level) String() string { return levels[l] }

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(text []byte) error {
	i := slices.Index(levels[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is no level of readiness", text)
	}
	*l = Level(i)
	return nil
}

// Problem is a component that is not OK.
type Problem struct {
	Component string    `json:"component"`
	Level     Level     `json:"level"`
	Reason    string    `json:"reason"`
	Since     time.Time `json:"since"`
}

// Readiness is the state of all components. A nil Readiness takes every call and
// reports nothing.
type Readiness struct {
	mu       sync.Mutex
	states   map[string]Problem // every component that was ever set; OK ones too
	checks   map[string]func() (Level, string)
	problems []Problem // of the last report, for Since
}

// New returns a Readiness without components.
func New() *Readiness {
	return &Readiness{states: map[string]Problem{}, checks: map[string]func() (Level, string){}}
}

// Set records the state of a component. OK ends its problem.
func (r *Readiness) Set(component string, level Level, reason string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	since := time.Now().UTC()
	if before, ok := r.states[component]; ok && before.Level != OK {
		since = before.Since
	}
	r.states[component] = Problem{Component: component, Level: level, Reason: reason, Since: since}
}

// Check asks for the state of a component at every report. The function must not
// block.
func (r *Readiness) Check(component string, state func() (Level, string)) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks[component] = state
}

// Probe is an active question to a server.
type Probe struct {
	Component string
	Level     Level         // when the server does not answer, or answers with an error
	Every     time.Duration // pause between two questions; 0 = 1 s
	Timeout   time.Duration // longest time to an answer; 0 = 2 s
	Ask       func(ctx context.Context) error
}

// Run asks until ctx ends. A server that does not answer in time is a problem even
// when Ask ignores its context: then the next question waits for the end of this one.
func (r *Readiness) Run(ctx context.Context, p Probe) {
	every, timeout := p.Every, p.Timeout
	if every == 0 {
		every = time.Second
	}
	if timeout == 0 {
		timeout = 2 * time.Second
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		r.ask(ctx, &p, timeout)
		pause.Reset(every)
	}
}

func (r *Readiness) ask(ctx context.Context, p *Probe, timeout time.Duration) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var answer error
	answered := make(chan struct{})
	go func() {
		answer = p.Ask(limited)
		close(answered)
	}()
	set := func(err error) {
		switch {
		case ctx.Err() != nil:
		case err == nil:
			r.Set(p.Component, OK, "")
		case limited.Err() != nil:
			r.Set(p.Component, p.Level, fmt.Sprintf("no answer within %s", timeout))
		default:
			r.Set(p.Component, p.Level, err.Error())
		}
	}
	select {
	case <-answered:
		set(answer)
	case <-limited.Done():
		set(limited.Err())
		select { // the function still runs
		case <-answered:
		case <-ctx.Done():
		}
	}
}

// Report is the state of an engine.
type Report struct {
	Ready    bool      // commands are executed
	Alive    bool      // the engine recovers by itself
	Problems []Problem // the worst first, then by component
}

// Reasons are the problems as one line each.
func (r *Report) Reasons() []string {
	lines := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		lines[i] = p.Component + ": " + p.Reason
	}
	return lines
}

// Report returns the present state. A problem keeps its Since while its component
// is not OK.
func (r *Readiness) Report() Report {
	report := Report{Ready: true, Alive: true}
	if r == nil {
		return report
	}
	r.mu.Lock()
	checks := make(map[string]func() (Level, string), len(r.checks))
	for name, check := range r.checks {
		checks[name] = check
	}
	r.mu.Unlock()
	now := map[string]Problem{} // the checks run without the lock: they may set other components
	for name, check := range checks {
		level, reason := check()
		now[name] = Problem{Component: name, Level: level, Reason: reason}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, state := range r.states {
		if checked, ok := now[name]; !ok || state.Level > checked.Level {
			now[name] = state
		}
	}
	for _, p := range now {
		if p.Level == OK {
			continue
		}
		if p.Since.IsZero() { // of a check: the first report that saw it
			p.Since = time.Now().UTC()
		}
		if i := slices.IndexFunc(r.problems, func(q Problem) bool { return q.Component == p.Component }); i >= 0 {
			p.Since = r.problems[i].Since
		}
		report.Problems = append(report.Problems, p)
		report.Ready = report.Ready && p.Level < NotReady
		report.Alive = report.Alive && p.Level < Failed
	}
	slices.SortFunc(report.Problems, func(a, b Problem) int {
		if a.Level != b.Level {
			return int(b.Level - a.Level)
		}
		return strings.Compare(a.Component, b.Component)
	})
	r.problems = report.Problems
	return report
}
