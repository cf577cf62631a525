package topology

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// planTime bounds a plan, or carrying one out, where the caller sets no end:
// silence is asked again until then.
const planTime = 30 * time.Second

// plan compares; ask allows probes.
func (p *Planner) plan(ctx context.Context, ask bool) (plan Plan, err error) {
	ctx, cancel := context.WithTimeout(ctx, planTime)
	defer cancel()
	a := &asking{ctx: ctx, js: p.js}
	f, err := p.survey(a)
	if err != nil {
		return plan, err
	}
	var streams, buckets []*wanted
	for i := range p.want.Streams {
		streams = append(streams, p.stream(&p.want.Streams[i]))
	}
	for i := range p.want.Buckets {
		buckets = append(buckets, p.bucket(&p.want.Buckets[i]))
	}
	all := append(streams[:len(streams):len(streams)], buckets...)
	for _, look := range []func(*asking, *facts, []*wanted, bool) ([]Check, error){p.placed, p.reserved, payload} {
		checks, err := look(a, &f, all, ask)
		if err != nil {
			return plan, err
		}
		plan.Checks = append(plan.Checks, checks...)
	}
	if err := p.streamSteps(a, &f, streams, ask, &plan); err != nil {
		return plan, err
	}
	p.consumerSteps(&f, &plan)
	return plan, p.streamSteps(a, &f, buckets, ask, &plan)
}

// journal are the names of the engine's own streams (contract, section 3).
var journal = regexp.MustCompile(`^EVENTS(_\d+)?$`)

func (p *Planner) streamSteps(a *asking, f *facts, all []*wanted, ask bool, plan *Plan) error {
	for _, w := range all {
		s := Step{Kind: w.kind, Name: w.name, Mappings: w.mappings}
		live := f.streams[w.cfg.Name]
		switch {
		case journal.MatchString(w.cfg.Name):
			s.Action, s.Reason = Refuse, "this is the engine's journal, which no topology describes"
		case w.refused != "":
			s.Action, s.Reason = Refuse, w.refused
		case live != nil:
			s.change(live, w)
		default:
			if err := s.make(a, w, ask); err != nil {
				return err
			}
		}
		plan.Steps = append(plan.Steps, s)
	}
	return nil
}

// make plans a stream that is missing, unless another one has its subjects.
func (s *Step) make(a *asking, w *wanted, ask bool) error {
	s.Action = Create
	for _, subject := range w.cfg.Subjects {
		if !ask {
			break
		}
		owner, err := a.owner(subject)
		if err != nil {
			return fmt.Errorf("ask who takes %s: %w", subject, err)
		}
		if owner != "" {
			s.Action, s.Reason = Refuse, fmt.Sprintf("subject %s is taken by stream %s", subject, owner)
			return nil
		}
	}
	cfg := w.cfg
	s.apply = func(a *asking) error { return a.create(cfg) }
	return nil
}

// change plans what a stream that is there lacks.
func (s *Step) change(live *jetstream.StreamInfo, w *wanted) {
	diff, next := compare(live, w)
	s.settle(diff)
	s.apply = func(a *asking) error {
		return a.do(func(ctx context.Context) error {
			_, err := a.js.UpdateStream(ctx, next)
			return err
		})
	}
}

// settle decides from the differences: one that may not be changed refuses the
// step as a whole.
func (s *Step) settle(diff []Change) {
	s.Action, s.Diff = Unchanged, diff
	for _, c := range diff {
		if c.Refused != "" {
			s.Action, s.Reason = Refuse, c.Field+": "+c.Refused
			return
		}
		s.Action = Update
	}
}
