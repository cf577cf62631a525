package telemetry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/console"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// The sampler keeps an hour for the console's graphs.
const (
	samplePause = 5 * time.Second
	sampleCount = int(time.Hour / samplePause)
)

// Sampler takes a sample of what the engine does every few seconds. It asks no server.
type Sampler struct {
	tally   *tally
	appends func() uint64 // events appended by this engine
	views   func() []projections.Status
	audit   func() *verify.AuditStatus

	mu       sync.Mutex
	ring     [sampleCount]console.Sample
	next     int // where the next sample goes
	verified time.Time

	last struct { // of the counters
		at                         time.Time
		commands, queries, appends uint64
		checked                    int64
		latency                    [latencySteps]uint64
		tiers                      map[string]uint64
	}
}

// NewSampler samples what m counts, and what the functions say.
func NewSampler(m *Metrics, appends func() uint64, views func() []projections.Status, audit func() *verify.AuditStatus) *Sampler {
	s := &Sampler{tally: m.tally, appends: appends, views: views, audit: audit}
	s.last.at, s.last.tiers = time.Now(), map[string]uint64{}
	return s
}

// Run samples until ctx ends.
func (s *Sampler) Run(ctx context.Context) {
	tick := time.NewTicker(samplePause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.take(now)
		}
	}
}

// since replaces the last value of a counter and returns by how much it has grown.
func since[N uint64 | int64](last *N, now N) N {
	grown := now - *last
	*last = now
	return grown
}

func (s *Sampler) take(now time.Time) {
	t, appends := s.tally, s.appends()
	lag := map[string]uint64{}
	for _, v := range s.views() {
		lag[v.Name] += v.LagEvents
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	one := console.Sample{
		At: now, Over: now.Sub(s.last.at), Lag: lag, Tiers: map[string]uint64{},
		Commands: since(&s.last.commands, t.commands.Load()),
		Queries:  since(&s.last.queries, t.queries.Load()),
		Appends:  since(&s.last.appends, appends),
	}
	s.last.at = now
	var latency [latencySteps]uint64
	for i := range latency {
		latency[i] = since(&s.last.latency[i], t.latency[i].Load())
	}
	one.P50, one.P99 = quantile(&latency, 0.5), quantile(&latency, 0.99)
	t.tiers.Range(func(name, n any) bool {
		before := s.last.tiers[name.(string)] //nolint:errcheck // the map holds nothing else
		one.Tiers[name.(string)] = since(&before, n.(*atomic.Uint64).Load())
		s.last.tiers[name.(string)] = before
		return true
	})
	if a := s.audit(); a != nil && since(&s.last.checked, a.Checked) > 0 {
		s.verified = now
	}
	s.ring[s.next] = one
	s.next = (s.next + 1) % sampleCount
}

// Series are the samples of the last hour, oldest first.
func (s *Sampler) Series() []console.Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := make([]console.Sample, 0, sampleCount)
	for i := range s.ring {
		if one := s.ring[(s.next+i)%sampleCount]; !one.At.IsZero() {
			of = append(of, one)
		}
	}
	return of
}

// LastVerified is when the audit last verified an aggregate.
func (s *Sampler) LastVerified() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verified
}
