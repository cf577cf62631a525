package operations

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
	"github.com/tidemark-engine/tidemark/infra/natsio/gate"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
)

// topologyAge is how old a look at the server may be that a page shows: live pages look again
// each second, and a look reads the state of every stream.
const topologyAge = 10 * time.Second

// looked is the last look at the server.
type looked struct {
	mu sync.Mutex
	t  console.Topology
	at time.Time
}

// Topology implements console.Operations. All pages share one look.
func (o *Operations) Topology(ctx context.Context, who console.Caller) (console.Topology, error) {
	if err := o.may(who, "topology"); err != nil {
		return console.Topology{}, err
	}
	o.looked.mu.Lock()
	defer o.looked.mu.Unlock()
	if time.Since(o.looked.at) < topologyAge {
		return o.looked.t, nil
	}
	t, err := o.look(ctx)
	if err == nil {
		o.looked.t, o.looked.at = t, time.Now()
	}
	return t, err
}

func (o *Operations) look(ctx context.Context) (t console.Topology, err error) {
	nc, err := o.conn()
	if err != nil {
		return t, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*lookTime)
	defer cancel()
	plan, err := o.e.Load().Topology.Inspect(ctx)
	if err != nil {
		return t, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return t, err
	}
	streams, planned := map[string]*jetstream.StreamInfo{}, map[string]bool{}
	for i := range plan.Steps {
		planned[plan.Steps[i].Stream()] = true
	}
	list := js.ListStreams(ctx)
	for info := range list.Info() {
		if gate.Reserved(info.Config.Name) || planned[info.Config.Name] {
			streams[info.Config.Name] = info
		} else {
			t.Others++
		}
	}
	if err := list.Err(); err != nil {
		return t, err
	}
	t.File = o.e.Load().TopologyFile
	for _, c := range plan.Checks {
		if c.Level != topology.OK {
			t.Checks = append(t.Checks, c.Name+": "+c.Text)
		}
	}
	seen := map[string]bool{}
	for i := range plan.Steps {
		thing := thingOf(&plan.Steps[i])
		stream := plan.Steps[i].Stream()
		if thing.Kind == string(topology.KindConsumer) {
			thing.Stream = stream
			o.consumer(ctx, js, &thing)
		} else {
			seen[stream] = true
			measure(&thing, streams[stream])
		}
		t.Things = append(t.Things, thing)
	}
	for name, info := range streams {
		if seen[name] {
			continue
		}
		thing := console.Thing{Kind: string(topology.KindStream), Name: name, Own: true, State: "match"}
		if bucket, is := strings.CutPrefix(name, "KV_"); is {
			thing.Kind, thing.Name = string(topology.KindBucket), bucket
		}
		measure(&thing, info)
		t.Things = append(t.Things, thing)
	}
	slices.SortStableFunc(t.Things, func(a, b console.Thing) int {
		return cmp.Or(order(a)-order(b), cmp.Compare(a.Name, b.Name))
	})
	if account, err := js.AccountInfo(ctx); err == nil {
		t.Used, t.Memory, t.Limit, t.LimitM = account.Store, account.Memory, account.Limits.MaxStore, account.Limits.MaxMemory
		t.Booked, t.BookedM = account.ReservedStore, account.ReservedMemory
	}
	return t, nil
}

// order is that of the page: what differs first, then the document, then the engine's own.
func order(t console.Thing) int {
	switch {
	case t.State != "match":
		return 0
	case !t.Own:
		return 1
	}
	return 2
}

// thingOf says how what the document describes is on the server.
func thingOf(s *topology.Step) console.Thing {
	t := console.Thing{Kind: string(s.Kind), Name: s.Name, Reason: s.Reason}
	switch s.Action {
	case topology.Create:
		t.State = "missing"
	case topology.Refuse:
		t.State = "refused"
	case topology.Unchanged:
		t.State = "match"
	default:
		t.State = "drift"
	}
	for _, c := range s.Diff {
		t.Drift = append(t.Drift, console.Drift{Field: c.Field, Wanted: c.To, Actual: c.From, Refused: c.Refused})
	}
	for i := range s.Mappings {
		m := &s.Mappings[i]
		if m.Written != m.InForce {
			t.Wanted = append(t.Wanted, m.Field+": "+cmp.Or(m.Written, "not written")+", in force "+m.InForce+": "+m.Reason)
		}
	}
	return t
}

func measure(t *console.Thing, info *jetstream.StreamInfo) {
	if info == nil {
		return
	}
	t.Messages, t.Bytes, t.Reserved, t.Consumers = info.State.Msgs, info.State.Bytes, info.Config.MaxBytes, info.State.Consumers
	t.Storage, t.Replicas = strings.ToLower(info.Config.Storage.String()), info.Config.Replicas
}

func (o *Operations) consumer(ctx context.Context, js jetstream.JetStream, t *console.Thing) {
	c, err := js.Consumer(ctx, t.Stream, t.Name)
	if err != nil {
		return // its state says that it is missing
	}
	info := c.CachedInfo()
	t.Messages, t.Pending = info.NumPending, uint64(max(info.NumAckPending, 0))
}
