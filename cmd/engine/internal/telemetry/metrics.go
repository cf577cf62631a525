// Package telemetry is what an engine reports of its work: the metrics of /metrics, the
// samples of the console's graphs, and traces. It counts what it is given, and asks no
// component.
package telemetry

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidemark-engine/tidemark/infra/pg/declared"
)

// Metrics are the metrics that the engine counts while it works; scrape has those that
// are read at each scrape, and catalog all of them.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	batch    *prometheus.HistogramVec
	events   *prometheus.CounterVec
	tiers    *prometheus.CounterVec
	Refused  *prometheus.CounterVec
	firings  *prometheus.CounterVec
	late     *prometheus.HistogramVec
	flush    *prometheus.HistogramVec
	tally    *tally // of the console's graphs
	floods   atomic.Uint64

	mu       sync.Mutex
	declared map[string]bool // declared views that have series of their own
}

// New returns metrics that nothing has been counted in.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), tally: newTally(),
		requests: metRequests.counters(),
		latency:  metLatency.histograms(0.0001, 2.5, 14),
		batch:    metWrite.histograms(0.0001, 2.5, 14),
		events:   metEvents.counters(),
		tiers:    metTiers.counters(),
		Refused:  metRefused.counters(),
		firings:  metFired.counters(),
		late:     metLate.histograms(0.01, 2.5, 14),
		flush:    oldFlush.histograms(0.25, 2, 16),
		declared: map[string]bool{},
	}
	m.registry.MustRegister(m.requests, m.latency, m.batch, m.events, m.tiers, m.Refused, m.firings, m.late, m.flush,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.late.WithLabelValues() // shown before the first too
	m.flush.WithLabelValues()
	return m
}

// Executed counts the commands that were answered, heartbeats too.
func (m *Metrics) Executed() uint64 { return m.tally.commands.Load() }

// Handler serves the metrics page.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Flooded counts a connection that is closed because it went on sending.
func (m *Metrics) Flooded() { m.floods.Add(1) }

// Answered observes a request and its answer.
func (m *Metrics) Answered(kind, outcome string, took time.Duration) {
	m.requests.WithLabelValues(kind, outcome).Inc()
	m.latency.WithLabelValues(kind).Observe(took.Seconds())
	m.tally.answered(kind, took)
}

// Fired observes the command of a reminder.
func (m *Metrics) Fired(outcome string, late time.Duration) {
	m.firings.WithLabelValues(outcome).Inc()
	m.late.WithLabelValues().Observe(late.Seconds())
}

// Hit counts a read by the tier that answered it.
func (m *Metrics) Hit(tier string) {
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
func (m *Metrics) label(view string) string {
	if !strings.HasPrefix(view, declared.ViewPrefix) {
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

// Applied observes the batches that a view's runners write.
func (m *Metrics) Applied(view string) func(int, time.Duration) {
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
