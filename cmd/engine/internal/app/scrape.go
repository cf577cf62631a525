package app

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/projections"
)

// scrape reads values from the engine at each scrape.
type scrape struct{ e *Engine }

// Describe implements prometheus.Collector. It is unchecked, because the views vary.
func (s *scrape) Describe(chan<- *prometheus.Desc) {}

// page is the metrics of one scrape.
type page chan<- prometheus.Metric

func (p page) put(m *metric, v float64, labels ...string) {
	kind := prometheus.GaugeValue
	if m.kind == counter {
		kind = prometheus.CounterValue
	}
	p <- prometheus.MustNewConstMetric(m.desc, kind, v, labels...)
}

func (p page) is(m *metric, holds bool, labels ...string) {
	v := 0.0
	if holds {
		v = 1
	}
	p.put(m, v, labels...)
}

// Collect implements prometheus.Collector. It asks no server: what the stores hold is
// as of the last look.
func (s *scrape) Collect(out chan<- prometheus.Metric) {
	p, report := page(out), s.e.readiness.Report()
	p.is(metReady, report.Ready)
	p.is(metAlive, report.Alive)
	p.put(metBuild, 1, s.e.version)
	for _, problem := range report.Problems {
		p.put(metProblem, time.Since(problem.Since).Seconds(), problem.Component, problem.Level.String())
	}
	if s.e.certs != nil {
		c := s.e.certs.Status()
		p.put(metCertEnd, float64(c.NotAfter.Unix()))
		p.put(metCertFails, float64(c.Failed))
	}
	if !s.e.assembled.Load() {
		return // the engine starts
	}
	s.servers(p, report.Problems)
	s.commands(p)
	s.views(p)
	s.storage(p)
	if a := s.e.audit.status(); a != nil {
		p.put(metAudited, float64(a.Checked))
		p.put(metAuditBad, float64(a.Differences))
		if !a.Verified.IsZero() {
			p.put(metVerified, float64(a.Verified.Unix()))
		}
	}
}

func (s *scrape) servers(p page, problems []readiness.Problem) {
	away := func(components ...string) bool {
		return slices.ContainsFunc(problems, func(p readiness.Problem) bool { return slices.Contains(components, p.Component) })
	}
	p.is(metNATS, !away("nats", "journal"))
	if s.e.postgres.db != nil {
		p.is(metSQL, !away("postgres") && s.e.postgres.problem() == "")
	}
}

func (s *scrape) commands(p page) {
	stats := s.e.commands.handler.Stats()
	p.put(metAppends, float64(stats.Appends.Load()))
	p.put(metConflicts, float64(stats.Conflicts.Load()))
	p.put(metReplays, float64(stats.Replays.Load()))
	p.put(metUnasked, float64(stats.Unasked.Load()))
	p.put(metFloods, float64(s.e.metrics.floods.Load()))
	p.put(metInFlight, float64(s.e.commands.handler.InFlight()))
	queued, oldest := s.e.health.enqueued()
	p.put(metQueued, float64(queued))
	p.put(metOldest, oldest.Seconds())
	for source, n := range bounded(s.e.health.deadLetters()) {
		p.put(metLetters, float64(n), source)
	}
	tasks, polls := s.e.commands.tasks.Waiting()
	p.put(metTasks, float64(tasks))
	p.put(metPolls, float64(polls))
	if stuck := s.e.health.stuckTasks(); stuck != nil {
		p.put(metStuck, float64(*stuck))
	}
}

// maxSources bounds the sources of dead letters that have a series of their own: a client
// names the consumers of its tasks.
const maxSources = 20

// bounded adds up the consumers beyond the largest ones as consumer.other.
func bounded(letters map[string]uint64) map[string]uint64 {
	sources := slices.SortedFunc(maps.Keys(letters), func(a, b string) int {
		return cmp.Or(cmp.Compare(letters[b], letters[a]), cmp.Compare(a, b))
	})
	all := map[string]uint64{"commands": 0} // shown before the first too
	for i, source := range sources {
		if i >= maxSources && strings.HasPrefix(source, "consumer.") {
			all["consumer.other"] += letters[source]
			continue
		}
		all[source] += letters[source]
	}
	return all
}

// staleHead is the age from which on the last known head of the journal is too old to say
// that a view has caught up.
const staleHead = 10 * time.Second

// viewState is what the page says of a view in a partition.
type viewState struct {
	events, seconds float64 // the largest lag
	down            bool
}

func (s *scrape) views(p page) {
	dirty, lag, stale := 0.0, 0.0, 0.0
	if age := s.e.journal.headsAge(); age > staleHead {
		stale = age.Seconds()
	}
	states, quarantined := map[place]viewState{}, map[string]int{}
	for _, v := range s.e.views.status(s.e.journal.lastHeads()) {
		at := place{s.e.metrics.label(v.Name), v.Partition}
		events, seconds := float64(v.LagEvents), max(v.LagSeconds, stale)
		up := v.State == projections.Running || v.State == projections.Degraded || v.State == projections.Rebuilding
		was := states[at]
		states[at] = viewState{max(was.events, events), max(was.seconds, seconds), was.down || !up}
		quarantined[at.view] += v.Quarantined
		if v.Name == "durable" {
			dirty, lag = dirty+events, max(lag, seconds*1000)
		}
	}
	for at, state := range states {
		partition := strconv.Itoa(at.partition)
		p.put(metLag, state.events, at.view, partition)
		p.put(metLagTime, state.seconds, at.view, partition)
		p.is(metUp, !state.down, at.view, partition)
	}
	for view, n := range quarantined {
		p.put(metQuarantined, float64(n), view)
	}
	p.put(oldDirty, dirty)
	p.put(oldLag, lag)
}

func (s *scrape) storage(p page) {
	storage, keys := s.e.health.last()
	p.put(metUsed, float64(storage.Used))
	p.put(metLimit, float64(storage.Limit))
	if u := s.e.guard.Usage(); u != nil {
		limit := float64(storage.Limit)
		if u.JournalLimit > 0 {
			limit = float64(u.JournalLimit)
		}
		p.put(metJournal, float64(u.Journal))
		p.put(metJournalLimit, limit)
	}
	for _, m := range []*metric{metKeys, oldKeys} {
		p.put(m, float64(keys), "AGENT_STATE")
	}
}
