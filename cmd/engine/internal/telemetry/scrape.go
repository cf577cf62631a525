package telemetry

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/internal/certs"
	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// State is what a scrape shows of the engine. It asks no server: what the stores hold is
// as of the last look.
type State struct {
	Version string
	Report  readiness.Report
	Certs   *certs.Status // nil = without TLS
	Running *Running      // nil = the engine starts
}

// Running is what the components of a started engine say.
type Running struct {
	SQL    bool
	Broken string // why the database cannot be used; empty = it can

	Stats            *commands.Stats
	InFlight         int64
	Enqueued         uint64
	Oldest           time.Duration
	DeadLetters      map[string]uint64 // by source
	Claimable, Polls int
	Stuck            *int // nil = not known
	Views            []projections.Status
	HeadsAge         time.Duration
	Storage          deployment.StorageStatus
	Keys             uint64
	Usage            *journal.Usage // nil = not known
	Audit            *verify.AuditStatus
}

// scrape puts the state of the engine into each scrape.
type scrape struct {
	m     *Metrics
	state func() State
}

// Show adds the engine's state to the page.
func (m *Metrics) Show(state func() State) { m.registry.MustRegister(&scrape{m, state}) }

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

// Collect implements prometheus.Collector.
func (s *scrape) Collect(out chan<- prometheus.Metric) {
	p, state := page(out), s.state()
	p.is(metReady, state.Report.Ready)
	p.is(metAlive, state.Report.Alive)
	p.put(metBuild, 1, state.Version)
	for _, problem := range state.Report.Problems {
		p.put(metProblem, time.Since(problem.Since).Seconds(), problem.Component, problem.Level.String())
	}
	if c := state.Certs; c != nil {
		p.put(metCertEnd, float64(c.NotAfter.Unix()))
		p.put(metCertFails, float64(c.Failed))
	}
	r := state.Running
	if r == nil {
		return
	}
	p.servers(r, state.Report.Problems)
	p.commands(r, s.m.floods.Load())
	p.views(r, s.m.label)
	p.storage(r)
	if a := r.Audit; a != nil {
		p.put(metAudited, float64(a.Checked))
		p.put(metAuditBad, float64(a.Differences))
		if !a.Verified.IsZero() {
			p.put(metVerified, float64(a.Verified.Unix()))
		}
	}
}

func (p page) servers(r *Running, problems []readiness.Problem) {
	away := func(components ...string) bool {
		return slices.ContainsFunc(problems, func(p readiness.Problem) bool { return slices.Contains(components, p.Component) })
	}
	p.is(metNATS, !away("nats", "journal"))
	if r.SQL {
		p.is(metSQL, !away("postgres") && r.Broken == "")
	}
}

func (p page) commands(r *Running, floods uint64) {
	p.put(metAppends, float64(r.Stats.Appends.Load()))
	p.put(metConflicts, float64(r.Stats.Conflicts.Load()))
	p.put(metReplays, float64(r.Stats.Replays.Load()))
	p.put(metUnasked, float64(r.Stats.Unasked.Load()))
	p.put(metFloods, float64(floods))
	p.put(metInFlight, float64(r.InFlight))
	p.put(metQueued, float64(r.Enqueued))
	p.put(metOldest, r.Oldest.Seconds())
	for source, n := range bounded(r.DeadLetters) {
		p.put(metLetters, float64(n), source)
	}
	p.put(metTasks, float64(r.Claimable))
	p.put(metPolls, float64(r.Polls))
	if r.Stuck != nil {
		p.put(metStuck, float64(*r.Stuck))
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

// series are those of a view in a partition.
type series struct {
	view      string
	partition int
}

// viewState is what the page says of a view in a partition.
type viewState struct {
	events, seconds float64 // the largest lag
	down            bool
}

func (p page) views(r *Running, label func(view string) string) {
	dirty, lag, stale := 0.0, 0.0, 0.0
	if age := r.HeadsAge; age > staleHead {
		stale = age.Seconds()
	}
	states, quarantined := map[series]viewState{}, map[string]int{}
	for _, v := range r.Views {
		at := series{label(v.Name), v.Partition}
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

func (p page) storage(r *Running) {
	p.put(metUsed, float64(r.Storage.Used))
	p.put(metLimit, float64(r.Storage.Limit))
	if u := r.Usage; u != nil {
		limit := float64(r.Storage.Limit)
		if u.JournalLimit > 0 {
			limit = float64(u.JournalLimit)
		}
		p.put(metJournal, float64(u.Journal))
		p.put(metJournalLimit, limit)
	}
	for _, m := range []*metric{metKeys, oldKeys} {
		p.put(m, float64(r.Keys), "AGENT_STATE")
	}
}
