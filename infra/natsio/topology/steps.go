package topology

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// planTime bounds a plan, so that unanswered requests do not retry forever.
const planTime = 30 * time.Second

// plan compares the topology with the server; probe permits probes.
func (p *Planner) plan(ctx context.Context, probe bool) (plan Plan, err error) {
	ctx, cancel := context.WithTimeout(ctx, planTime)
	defer cancel()
	a := &api{ctx: ctx, js: p.js}
	server, err := p.readServer(a)
	if err != nil {
		return plan, err
	}
	for name, info := range server.streams {
		p.created[name] = info.Created
	}
	var streams, buckets []*desired
	for i := range p.topology.Streams {
		streams = append(streams, p.stream(&p.topology.Streams[i]))
	}
	for i := range p.topology.Buckets {
		buckets = append(buckets, p.bucket(&p.topology.Buckets[i]))
	}
	all := append(streams[:len(streams):len(streams)], buckets...)
	for _, check := range []func(*api, *serverState, []*desired, bool) ([]Check, error){p.checkPlacement, p.checkReservations} {
		checks, err := check(a, &server, all, probe)
		if err != nil {
			return plan, err
		}
		plan.Checks = append(plan.Checks, checks...)
	}
	plan.Checks = append(plan.Checks, server.checkPayload(all))
	if err := p.streamSteps(a, &server, streams, probe, &plan); err != nil {
		return plan, err
	}
	p.consumerSteps(&server, &plan)
	return plan, p.streamSteps(a, &server, buckets, probe, &plan)
}

// journalStream matches the names of the journal's streams (contract, section 3).
var journalStream = regexp.MustCompile(`^EVENTS(_\d+)?$`)

// isOffline is why a plan leaves a stream alone that it cannot read.
const isOffline = "all servers that hold it are down"

// Offline reports whether the step leaves alone what cannot be read now.
func (s *Step) Offline() bool { return s.Action == Refuse && s.Reason == isOffline }

func (p *Planner) streamSteps(a *api, server *serverState, all []*desired, probe bool, plan *Plan) error {
	for _, d := range all {
		s := Step{Kind: d.kind, Name: d.name, stream: d.cfg.Name, Mappings: d.mappings}
		live := server.streams[d.cfg.Name]
		switch {
		case journalStream.MatchString(d.cfg.Name):
			s.Action, s.Reason = Refuse, "this is the engine's journal, which no topology may describe"
		case server.offline[d.cfg.Name]:
			s.Action, s.Reason = Refuse, isOffline
		case d.refused != "":
			s.Action, s.Reason = Refuse, d.refused
		case live != nil:
			s.update(live, d)
		default:
			if err := s.create(a, d, probe); err != nil {
				return err
			}
		}
		plan.Steps = append(plan.Steps, s)
	}
	return nil
}

// create plans a missing stream, unless another stream has one of its subjects.
func (s *Step) create(a *api, d *desired, probe bool) error {
	s.Action = Create
	cfg := d.cfg
	s.apply = func(a *api) error { return a.create(cfg) }
	if !probe {
		return nil
	}
	for _, subject := range cfg.Subjects {
		owner, err := a.owner(subject)
		if err != nil {
			return fmt.Errorf("find the stream of subject %s: %w", subject, err)
		}
		if owner != "" && owner != cfg.Name { // another engine has created it since
			s.Action, s.Reason = Refuse, fmt.Sprintf("subject %s belongs to stream %s", subject, owner)
			return nil
		}
	}
	return nil
}

// update plans the changes of an existing stream.
func (s *Step) update(live *jetstream.StreamInfo, d *desired) {
	changes, next := diff(streamFields, live, &live.Config, &d.cfg, d.kind)
	s.decide(changes)
	s.apply = func(a *api) error {
		return a.do(func(ctx context.Context) error {
			_, err := a.js.UpdateStream(ctx, next)
			return err
		})
	}
}

// decide sets the action: one refused change refuses the whole step.
func (s *Step) decide(changes []Change) {
	s.Action, s.Diff = Unchanged, changes
	for _, c := range changes {
		if c.Refused != "" {
			s.Action, s.Reason = Refuse, c.Field+": "+c.Refused
			return
		}
		s.Action = Update
	}
}
