package topology

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options are what the server does not report.
type Options struct {
	// Prefix is the engine's subject_prefix; it goes before every subject.
	Prefix string
	// Async creates file streams of a single server with asynchronous writes.
	// The embedded server syncs its journal, and every stream here can be
	// rebuilt from it. The server cannot change the mode later.
	Async bool
	// Lenient drops a placement that the cluster cannot meet instead of refusing
	// it: for the default topology.
	Lenient bool
}

// Planner plans, applies and inspects one topology on one server. It is safe
// for concurrent use; calls run one at a time.
type Planner struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	topology Topology
	opts     Options

	mu sync.Mutex
	// Results of the last probes, for Inspect, which probes nothing.
	fits    map[string]fit
	granted map[string]int64 // max_bytes in force by stream, if not as written
	// created is when each stream was made, as of the last call.
	created map[string]time.Time
}

// NewPlanner returns a planner of t for the server behind nc.
func NewPlanner(nc *nats.Conn, t Topology, opts Options) (*Planner, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Planner{nc: nc, js: js, topology: t, opts: opts, fits: map[string]fit{}, granted: map[string]int64{}, created: map[string]time.Time{}}, nil
}

// Plan compares the topology with the server. It probes whether the server
// would accept missing streams, with empty streams that it deletes at once: a
// server has no dry run.
func (p *Planner) Plan(ctx context.Context) (Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan(ctx, true)
}

// Inspect is Plan without probes: it only reads, and uses the probe results of
// the last Plan or Apply.
func (p *Planner) Inspect(ctx context.Context) (Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan(ctx, false)
}

// ErrStopped is returned by Apply if a check refuses the plan (Plan.Stopped);
// nothing is applied.
var ErrStopped = errors.New("the topology does not fit the server")

// Apply plans, applies the plan and returns it. It deletes nothing and refuses
// what would lose messages; it is idempotent. A refused step does not stop the
// others.
func (p *Planner) Apply(ctx context.Context) (Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	plan, err := p.plan(ctx, true)
	if err != nil {
		return plan, err
	}
	if plan.Stopped() != nil {
		return plan, ErrStopped
	}
	a := &api{ctx: ctx, js: p.js}
	for i := range plan.Steps {
		if err := plan.Steps[i].run(a); err != nil {
			return plan, err
		}
	}
	return plan, nil
}

// run applies a step that creates or updates. A refusal of the server becomes the
// step's reason.
func (s *Step) run(a *api) error {
	if s.Action != Create && s.Action != Update {
		return nil
	}
	err := s.apply(a)
	var refusal *jetstream.APIError
	if errors.As(err, &refusal) {
		s.Action, s.Reason = Refuse, "the server refuses it: "+refusal.Description
		return nil
	}
	return err
}

// Restore creates what was removed from the server since the last call of Apply or
// Restore, and applies the document to streams that another program has made again.
// It leaves other differences alone. It returns the steps that it applied, and the
// names of the streams that are not the ones of the last call: their messages are
// lost.
func (p *Planner) Restore(ctx context.Context) (plan Plan, applied []Step, remade []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := maps.Clone(p.created)
	if plan, err = p.plan(ctx, false); err != nil {
		return plan, nil, nil, err
	}
	a := &api{ctx: ctx, js: p.js}
	for i := range plan.Steps {
		s := &plan.Steps[i]
		was, known := before[s.stream]
		other := known && (s.Action == Create || !p.created[s.stream].Equal(was))
		if s.Kind == KindConsumer {
			other = slices.Contains(remade, s.stream)
		}
		if s.Action == Create || s.Action == Update && other {
			if err := s.run(a); err != nil {
				return plan, applied, remade, err
			}
			applied = append(applied, *s)
		}
		if other && s.Kind != KindConsumer && s.Action != Refuse {
			remade = append(remade, s.stream)
		}
	}
	if len(applied) > 0 { // remember the streams that were made now
		_, err = p.plan(ctx, false)
	}
	return plan, applied, remade, err
}
