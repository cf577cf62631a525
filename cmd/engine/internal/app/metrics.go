package app

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are the metrics that the engine counts while it works; scrape has those that
// are read at each scrape, and catalog all of them.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	batch    *prometheus.HistogramVec
	events   *prometheus.CounterVec
	tiers    *prometheus.CounterVec
	refused  *prometheus.CounterVec
	firings  *prometheus.CounterVec
	late     *prometheus.HistogramVec
	flush    *prometheus.HistogramVec
	tally    *tally // of the console's graphs
	floods   atomic.Uint64

	mu       sync.Mutex
	declared map[string]bool // declared views that have series of their own
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), tally: newTally(),
		requests: metRequests.counters(),
		latency:  metLatency.histograms(0.0001, 2.5, 14),
		batch:    metWrite.histograms(0.0001, 2.5, 14),
		events:   metEvents.counters(),
		tiers:    metTiers.counters(),
		refused:  metRefused.counters(),
		firings:  metFired.counters(),
		late:     metLate.histograms(0.01, 2.5, 14),
		flush:    oldFlush.histograms(0.25, 2, 16),
		declared: map[string]bool{},
	}
	m.registry.MustRegister(m.requests, m.latency, m.batch, m.events, m.tiers, m.refused, m.firings, m.late, m.flush,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.late.WithLabelValues() // shown before the first too
	m.flush.WithLabelValues()
	return m
}

func (m *metrics) answered(kind, outcome string, took time.Duration) {
	m.requests.WithLabelValues(kind, outcome).Inc()
	m.latency.WithLabelValues(kind).Observe(took.Seconds())
	m.tally.answered(kind, took)
}

func (m *metrics) fired(outcome string, late time.Duration) {
	m.firings.WithLabelValues(outcome).Inc()
	m.late.WithLabelValues().Observe(late.Seconds())
}

func (m *metrics) hit(tier string) {
	m.tiers.WithLabelValues(tier).Inc()
	m.tally.hit(tier)
}

// maxDeclared bounds the declared views that have series of their own; the others share
// those of otherViews.
const (
	maxDeclared = 100
	otherViews  = "other"
)

// label is the name of a view in the metrics.
func (m *metrics) label(view string) string {
	if !isDeclared(view) {
		return view
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.declared[view] && len(m.declared) == maxDeclared {
		return otherViews
	}
	m.declared[view] = true
	return view
}

// applied observes the batches that a view's runners write.
func (m *metrics) applied(view string) func(int, time.Duration) {
	label := m.label(view)
	batch, events := m.batch.WithLabelValues(label), m.events.WithLabelValues(label)
	return func(n int, took time.Duration) {
		batch.Observe(took.Seconds())
		events.Add(float64(n))
		if view == "durable" {
			m.flush.WithLabelValues().Observe(float64(took) / float64(time.Millisecond))
		}
	}
}
