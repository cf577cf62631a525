package topology

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options say what the planner cannot learn from the server.
type Options struct {
	// Prefix goes before every subject, like the engine's subject_prefix.
	Prefix string
	// Async makes new file streams of a single server not wait for the disk:
	// the engine's own server syncs its journal, and all of this is folded
	// from it again. The server cannot change it later.
	Async bool
	// Lenient leaves out placement that the cluster cannot meet, instead of
	// refusing: for a topology that nobody wrote for this cluster.
	Lenient bool
}

// Planner plans, applies and watches one topology on one server. Its methods
// may be called side by side; they take turns.
type Planner struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	want Topology
	opts Options

	mu sync.Mutex
	// What the last full plan found out by asking, for Look, which does not.
	fits    map[string]fit
	granted map[string]int64 // max_bytes in force by stream, where not as written
}

// NewPlanner plans t on the server behind nc.
func NewPlanner(nc *nats.Conn, t Topology, opts Options) (*Planner, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &Planner{nc: nc, js: js, want: t, opts: opts, fits: map[string]fit{}, granted: map[string]int64{}}, nil
}

// Plan compares the topology with the server. Where something is missing it
// also asks whether the server would take it, by making an empty stream of that
// kind and removing it at once (a server has no other way to tell).
func (p *Planner) Plan(ctx context.Context) (Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan(ctx, true)
}

// Look is Plan without asking: it only reads, and takes what the last Plan or
// Apply found out as given.
func (p *Planner) Look(ctx context.Context) (Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan(ctx, false)
}

// ErrStopped is returned by Apply when a check stands in the way; the plan says
// which, and nothing has been done.
var ErrStopped = errors.New("the topology does not fit the server")

// Apply carries the plan out and returns it. It never deletes, and what would
// lose messages is refused; applied again it does nothing. It returns ErrStopped
// before anything is done; a step that is refused leaves the others alone.
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
	a := &asking{ctx: ctx, js: p.js}
	for i := range plan.Steps {
		s := &plan.Steps[i]
		if s.Action != Create && s.Action != Update {
			continue
		}
		err := s.apply(a)
		var no *jetstream.APIError
		switch {
		case err == nil:
		case errors.As(err, &no):
			s.Action, s.Reason = Refuse, "the server refuses: "+no.Description
		default:
			return plan, err
		}
	}
	return plan, nil
}

// asking is one task's way to the JetStream API. A cluster drops what it is
// asked before it has a leader, and the client would wait out its whole time:
// each try is short, and silence is asked again until the context ends.
type asking struct {
	ctx   context.Context
	js    jetstream.JetStream
	swept bool // old probes are gone
}

// tryTime bounds one request; making a replicated stream takes about a second
// on a busy machine.
const tryTime = 3 * time.Second

// codeNoLeader is JSClusterNotAvailErr: there is no meta leader yet.
const codeNoLeader = 10008

func (a *asking) do(request func(context.Context) error) error {
	for {
		ctx, cancel := context.WithTimeout(a.ctx, tryTime)
		err := request(ctx)
		cancel()
		if !busy(err) || a.ctx.Err() != nil {
			return err
		}
		select {
		case <-a.ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// A server removes the directory of all streams soon after the last one, which a
// probe may have been, and that may cross the making of the next. It calls that
// an error of making a stream like many others (measured on 2.15), so all of
// those are asked again a few times. No more than that: at each failed store it
// also takes off what the stream would have reserved, though it had not.
const (
	codeCreateFailed = 10049 // JSStreamCreateErrF
	createTries      = 4
	createPause      = 100 * time.Millisecond
)

func (a *asking) create(cfg jetstream.StreamConfig) error {
	for try := 1; ; try++ {
		err := a.do(func(ctx context.Context) error {
			_, err := a.js.CreateStream(ctx, cfg)
			return err
		})
		if try == createTries || !hasCode(err, codeCreateFailed) {
			return err
		}
		select {
		case <-a.ctx.Done():
			return err
		case <-time.After(createPause):
		}
	}
}

// busy tells silence, which may end, from an answer.
func busy(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrNoResponders) || hasCode(err, codeNoLeader)
}

func hasCode(err error, codes ...jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.ErrorCode == c {
			return true
		}
	}
	return false
}
