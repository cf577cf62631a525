package app

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tidemark-engine/tidemark/projections"
)

// metrics are the engine's Prometheus series. The names without
// a prefix are those that the customer's monitoring reads.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	batch    *prometheus.HistogramVec
	events   *prometheus.CounterVec
	tiers    *prometheus.CounterVec
	refused  *prometheus.CounterVec
	firings  *prometheus.CounterVec
	late     prometheus.Histogram
	flush    prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_requests_total", Help: "Requests answered, by verb and outcome (a receipt's outcome or an error's code).",
		}, []string{"verb", "outcome"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidemark_request_seconds", Help: "Time from a request's arrival to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14),
		}, []string{"verb"}),
		batch: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidemark_view_write_seconds", Help: "Time a view took to write one batch.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14),
		}, []string{"view"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_view_events_total", Help: "Events a view has folded.",
		}, []string{"view"}),
		tiers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_tier_hits_total", Help: "Reads answered, by tier.",
		}, []string{"tier"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_refused_total", Help: "Requests refused because their sender lacks a grant, by kind of the grant.",
		}, []string{"kind"}),
		firings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_reminders_fired_total", Help: "Commands of reminders that were answered, by outcome; refused = with an error.",
		}, []string{"outcome"}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidemark_reminder_late_seconds", Help: "Time from a reminder's due time to the answer of its command.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 14),
		}),
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "flush_duration_ms", Help: "Time of one flush of dirty entries to SQL, in milliseconds.",
			Buckets: prometheus.ExponentialBuckets(0.25, 2, 16),
		}),
	}
	m.registry.MustRegister(m.requests, m.latency, m.batch, m.events, m.tiers, m.refused, m.firings, m.late, m.flush,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) answered(kind, outcome string, took time.Duration) {
	m.requests.WithLabelValues(kind, outcome).Inc()
	m.latency.WithLabelValues(kind).Observe(took.Seconds())
}

func (m *metrics) fired(outcome string, late time.Duration) {
	m.firings.WithLabelValues(outcome).Inc()
	m.late.Observe(late.Seconds())
}

func (m *metrics) hit(tier string) { m.tiers.WithLabelValues(tier).Inc() }

// applied observes the batches that a view's runners write.
func (m *metrics) applied(view string) func(int, time.Duration) {
	batch, events := m.batch.WithLabelValues(view), m.events.WithLabelValues(view)
	return func(n int, took time.Duration) {
		batch.Observe(took.Seconds())
		events.Add(float64(n))
		if view == "durable" {
			m.flush.Observe(float64(took) / float64(time.Millisecond))
		}
	}
}

// scrape reads values from the engine at each scrape.
type scrape struct{ e *Engine }

var (
	descAppends   = prometheus.NewDesc("tidemark_appends_total", "Events appended by this engine.", nil, nil)
	descConflicts = prometheus.NewDesc("tidemark_conflicts_total", "Appends that lost against another writer.", nil, nil)
	descReplays   = prometheus.NewDesc("tidemark_replays_total", "Repeated commands answered with their first receipt.", nil, nil)
	descUnasked   = prometheus.NewDesc("tidemark_archive_unasked_total", "Commands whose id carries no time, executed while the archive was unavailable.", nil, nil)
	descInFlight  = prometheus.NewDesc("tidemark_commands_in_flight", "Commands in flight.", nil, nil)
	descTasks     = prometheus.NewDesc("tidemark_tasks_claimable", "Tasks that tasks.next can claim, as this engine knows.", nil, nil)
	descPolls     = prometheus.NewDesc("tidemark_tasks_next_waiting", "Requests on tasks.next that wait in this engine.", nil, nil)
	descLag       = prometheus.NewDesc("tidemark_view_lag_events", "Events from a view's position to the journal's head.", []string{"view", "partition"}, nil)
	descLagTime   = prometheus.NewDesc("tidemark_view_lag_seconds", "Age of the oldest event that a view has not folded.", []string{"view", "partition"}, nil)
	descUp        = prometheus.NewDesc("tidemark_view_up", "1 while a view runs, 0 while it waits or is halted.", []string{"view", "partition"}, nil)
	descHeld      = prometheus.NewDesc("tidemark_view_quarantined", "Aggregates that a view holds in quarantine.", []string{"view"}, nil)
	descLetters   = prometheus.NewDesc("tidemark_dead_letters", "Dead letters that wait for engine dlq, by source.", []string{"source"}, nil)
	descKV        = prometheus.NewDesc("kv_entry_count", "Keys in a hot bucket.", []string{"bucket"}, nil)
	descDirty     = prometheus.NewDesc("dirty_state_entries", "Events not yet flushed to SQL.", nil, nil)
	descAudited   = prometheus.NewDesc("tidemark_audit_checked_total", "Aggregates that the background audit has verified.", nil, nil)
	descAuditBad  = prometheus.NewDesc("tidemark_audit_differences", "Differences that the background audit has found and that still exist.", nil, nil)
	descReady     = prometheus.NewDesc("tidemark_ready", "1 while commands are executed.", nil, nil)
	descAlive     = prometheus.NewDesc("tidemark_alive", "1 while the engine works or recovers by itself.", nil, nil)
	descProblem   = prometheus.NewDesc("tidemark_problem", "Seconds that a component has had a problem.", []string{"component", "level"}, nil)
	descUsed      = prometheus.NewDesc("tidemark_storage_used_bytes", "Storage that the streams take.", nil, nil)
	descLimit     = prometheus.NewDesc("tidemark_storage_limit_bytes", "Storage that the streams may take; 0 = no limit is known.", nil, nil)
	descCertEnd   = prometheus.NewDesc("tidemark_tls_certificate_expiry_timestamp_seconds", "Unix time at which the served TLS certificate ends.", nil, nil)
	descCertFails = prometheus.NewDesc("tidemark_tls_reload_failures_total", "Reads of the TLS files that failed; the certificate before stays in use.", nil, nil)
	descConsist   = prometheus.NewDesc("consistency_lag_ms", "Age of the oldest event that is not in SQL, in milliseconds.", nil, nil)
)

// Describe implements prometheus.Collector. It is unchecked, because the views vary.
func (s *scrape) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. It asks no server: what the stores hold is
// as of the last look.
func (s *scrape) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	is := map[bool]float64{true: 1}
	report := s.e.readiness.Report()
	gauge(descReady, is[report.Ready])
	gauge(descAlive, is[report.Alive])
	for _, p := range report.Problems {
		gauge(descProblem, time.Since(p.Since).Seconds(), p.Component, p.Level.String())
	}
	if s.e.certs != nil {
		c := s.e.certs.Status()
		gauge(descCertEnd, float64(c.NotAfter.Unix()))
		counter(descCertFails, c.Failed)
	}
	if !s.e.assembled.Load() {
		return // the engine starts
	}
	stats := s.e.commands.handler.Stats()
	counter(descAppends, stats.Appends.Load())
	counter(descConflicts, stats.Conflicts.Load())
	counter(descReplays, stats.Replays.Load())
	counter(descUnasked, stats.Unasked.Load())
	gauge(descInFlight, float64(s.e.commands.handler.InFlight()))
	tasks, polls := s.e.commands.tasks.Waiting()
	gauge(descTasks, float64(tasks))
	gauge(descPolls, float64(polls))
	if a := s.e.audit.status(); a != nil {
		counter(descAudited, a.Checked)
		gauge(descAuditBad, float64(a.Differences))
	}
	for source, n := range s.e.health.deadLetters() {
		gauge(descLetters, float64(n), source)
	}
	dirty, lag := 0.0, 0.0
	quarantined := map[string]int{}
	for _, v := range s.e.views.status(s.e.journal.lastHeads(), false) {
		p := strconv.Itoa(v.Partition)
		gauge(descLag, float64(v.LagEvents), v.Name, p)
		gauge(descLagTime, v.LagSeconds, v.Name, p)
		gauge(descUp, is[v.State == projections.Running || v.State == projections.Degraded || v.State == projections.Rebuilding], v.Name, p)
		quarantined[v.Name] += v.Quarantined
		if v.Name == "durable" {
			dirty, lag = dirty+float64(v.LagEvents), max(lag, v.LagSeconds*1000)
		}
	}
	for view, n := range quarantined {
		gauge(descHeld, float64(n), view)
	}
	gauge(descDirty, dirty)
	gauge(descConsist, lag)
	storage, keys := s.e.health.last()
	gauge(descUsed, float64(storage.Used))
	gauge(descLimit, float64(storage.Limit))
	gauge(descKV, float64(keys), "AGENT_STATE")
}
