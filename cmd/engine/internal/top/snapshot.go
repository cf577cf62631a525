package top

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
)

// Snapshot is what top shows. Rates are for a second, between two looks. Rates is nil
// where the metrics are out of reach; Missing says why.
type Snapshot struct {
	Version  string                   `json:"version"`
	Uptime   float64                  `json:"uptime_seconds"`
	Ready    bool                     `json:"ready"`
	Reasons  []string                 `json:"reasons"`
	NATS     string                   `json:"nats"`
	Postgres string                   `json:"postgres"`
	InFlight int64                    `json:"commands_in_flight"`
	Views    []View                   `json:"views"`
	Storage  deployment.StorageStatus `json:"storage"`
	Rates    *Rates                   `json:"rates,omitempty"`
	Counts   *Counts                  `json:"counts,omitempty"`
	Missing  string                   `json:"metrics_missing,omitempty"`
}

// View is one partition of a view.
type View struct {
	Name        string  `json:"name"`
	Partition   int     `json:"partition"`
	LagEvents   uint64  `json:"lag_events"`
	LagSeconds  float64 `json:"lag_seconds"`
	State       string  `json:"state"`
	Reason      string  `json:"reason,omitempty"`
	Quarantined int     `json:"quarantined,omitempty"`
}

// Rates are what happened between two looks.
type Rates struct {
	Seconds  float64            `json:"seconds"` // between the looks
	Commands float64            `json:"commands_per_second"`
	Queries  float64            `json:"queries_per_second"`
	Errors   float64            `json:"errors_per_second"` // commands and queries answered with an error
	Appends  float64            `json:"appends_per_second"`
	P50      *float64           `json:"command_p50_seconds,omitempty"` // nil = no command
	P99      *float64           `json:"command_p99_seconds,omitempty"`
	Tiers    map[string]float64 `json:"tier_hits_per_second"`
}

// Counts are what there is now.
type Counts struct {
	Claimable   float64            `json:"tasks_claimable"`
	Polls       float64            `json:"tasks_next_waiting"`
	Stuck       *float64           `json:"tasks_stuck,omitempty"` // nil = not known
	Enqueued    float64            `json:"enqueued_commands"`
	Oldest      float64            `json:"enqueued_command_oldest_seconds"`
	DeadLetters map[string]float64 `json:"dead_letters"`
	Journal     float64            `json:"journal_bytes"`
	Limit       float64            `json:"journal_limit_bytes"`
	Differences *float64           `json:"audit_differences,omitempty"`
}

// compare makes a snapshot of two looks; before may be nil, then there are no rates.
func compare(before, now *look) *Snapshot {
	s := &Snapshot{
		Version: now.status.Version, Uptime: now.status.UptimeS, Ready: now.status.Ready, Reasons: now.status.Reasons,
		NATS: now.status.NATS.State, Postgres: now.status.Postgres.State, InFlight: now.status.InFlight,
		Storage: now.status.Storage, Missing: now.missing, Views: []View{},
	}
	for i := range now.status.Views {
		v := &now.status.Views[i]
		s.Views = append(s.Views, View{v.Name, v.Partition, v.LagEvents, v.LagSeconds, v.State, v.Reason, v.Quarantined})
	}
	if now.metrics == nil {
		return s
	}
	s.Counts = now.counts()
	if before != nil && before.metrics != nil && now.at.After(before.at) && now.status.UptimeS >= before.status.UptimeS {
		s.Rates = rates(before, now)
	}
	return s
}

func (l *look) counts() *Counts {
	c := &Counts{DeadLetters: map[string]float64{}}
	c.Claimable, _ = l.number("tidemark_tasks_claimable")
	c.Polls, _ = l.number("tidemark_tasks_next_waiting")
	c.Enqueued, _ = l.number("tidemark_enqueued_commands")
	c.Oldest, _ = l.number("tidemark_enqueued_command_oldest_seconds")
	c.Journal, _ = l.number("tidemark_journal_bytes")
	c.Limit, _ = l.number("tidemark_journal_limit_bytes")
	if n, found := l.number("tidemark_tasks_stuck"); found {
		c.Stuck = &n
	}
	if n, found := l.number("tidemark_audit_differences"); found {
		c.Differences = &n
	}
	l.each("tidemark_dead_letters", func(labels map[string]string, m *dto.Metric) { c.DeadLetters[labels["source"]] = value(m) })
	return c
}

// isCommand reports whether a verb of the metrics is one of commands.
func isCommand(verb string) bool {
	return strings.HasPrefix(verb, "commands.") || strings.HasPrefix(verb, "enqueue.")
}

func rates(before, now *look) *Rates {
	seconds := now.at.Sub(before.at).Seconds()
	r := &Rates{Seconds: seconds, Tiers: map[string]float64{}}
	for sign, l := range map[float64]*look{1: now, -1: before} {
		l.each("tidemark_requests_total", func(labels map[string]string, m *dto.Metric) {
			n := sign * value(m)
			if isCommand(labels["verb"]) {
				r.Commands += n
			} else {
				r.Queries += n
			}
			if o := labels["outcome"]; o != "" && o[0] >= '0' && o[0] <= '9' { // the status of an error
				r.Errors += n
			}
		})
		l.each("tidemark_tier_hits_total", func(labels map[string]string, m *dto.Metric) { r.Tiers[labels["tier"]] += sign * value(m) })
		appends, _ := l.number("tidemark_appends_total")
		r.Appends += sign * appends
	}
	for _, count := range []*float64{&r.Commands, &r.Queries, &r.Errors, &r.Appends} { // whole numbers until here: no change is 0, and not almost 0
		*count /= seconds
	}
	for tier := range r.Tiers {
		r.Tiers[tier] /= seconds
	}
	if buckets := latency(before, now); len(buckets) > 0 {
		r.P50, r.P99 = quantile(buckets, 0.5), quantile(buckets, 0.99)
	}
	return r
}

// bucket is how many requests took at most a time, in seconds.
type bucket struct{ most, count float64 }

// latency is the histogram of the commands between two looks.
func latency(before, now *look) []bucket {
	counts := map[float64]float64{}
	for sign, l := range map[float64]*look{1: now, -1: before} {
		l.each("tidemark_request_seconds", func(labels map[string]string, m *dto.Metric) {
			if labels["verb"] == "commands.tasks.next" || !isCommand(labels["verb"]) { // tasks.next waits for tasks
				return
			}
			for _, b := range m.GetHistogram().GetBucket() {
				counts[b.GetUpperBound()] += sign * float64(b.GetCumulativeCount())
			}
		})
	}
	buckets := make([]bucket, 0, len(counts))
	for most, n := range counts {
		buckets = append(buckets, bucket{most, n})
	}
	slices.SortFunc(buckets, func(a, b bucket) int {
		if a.most < b.most {
			return -1
		}
		return 1
	})
	return buckets
}

// quantile is the upper bound of the bucket that has the q-th of all requests, as a
// histogram cannot say more without a guess; nil without a request.
func quantile(buckets []bucket, q float64) *float64 {
	all := buckets[len(buckets)-1].count
	if all <= 0 {
		return nil
	}
	for i, b := range buckets {
		if b.count >= q*all {
			if i == len(buckets)-1 && i > 0 { // +Inf
				return &buckets[i-1].most
			}
			return &b.most
		}
	}
	return nil
}
