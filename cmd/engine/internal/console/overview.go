package console

import (
	"sort"
	"time"
)

// engineStatus is the answer to queries.engine.status, as far as pages show it. A principal
// without the grant gets its first members only.
type engineStatus struct {
	Version    string   `json:"version"`
	UptimeS    float64  `json:"uptime_seconds"`
	Ready      bool     `json:"ready"`
	Reasons    []string `json:"reasons"`
	Durability string   `json:"durability"`
	Detail     string   `json:"durability_detail"`
	Storage    struct {
		Used    uint64 `json:"used"`
		Limit   uint64 `json:"limit"`
		Free    uint64 `json:"free"`
		Reserve uint64 `json:"reserve"`
	} `json:"storage"`
	Journal *struct { // nil = no grant
		Partitions int      `json:"partitions"`
		Replicas   int      `json:"replicas"`
		Heads      []uint64 `json:"heads"`
		Conflicts  int64    `json:"conflicts"`
	} `json:"journal"`
	NATS struct {
		Mode    string `json:"mode"`
		State   string `json:"state"`
		Version string `json:"version"`
	} `json:"nats"`
	Postgres struct {
		Mode    string `json:"mode"`
		State   string `json:"state"`
		Reason  string `json:"reason"`
		Version string `json:"version"`
	} `json:"postgres"`
	Views    []viewStatus `json:"views"`
	InFlight int64        `json:"commands_in_flight"`
	Topology *struct {
		Drift int `json:"drift"`
	} `json:"topology"`
	Audit *struct {
		State       string `json:"state"`
		Reason      string `json:"reason"`
		Checked     int64  `json:"checked"`
		Differences int    `json:"differences"`
		Last        string `json:"last_difference"`
	} `json:"audit"`
}

// viewStatus is a view on a partition.
type viewStatus struct {
	Name        string  `json:"name"`
	Partition   int     `json:"partition"`
	Position    uint64  `json:"position"`
	Head        uint64  `json:"head"`
	LagEvents   uint64  `json:"lag_events"`
	LagSeconds  float64 `json:"lag_seconds"`
	State       string  `json:"state"`
	Reason      string  `json:"reason"`
	Quarantined int     `json:"quarantined"`
}

func (r *request) status() (s engineStatus, err error) {
	err = r.ask("engine.status", nil, &s)
	return s, err
}

// overviewData is what the overview shows.
type overviewData struct {
	status engineStatus
	series []Sample
	now    Sample // the latest, as rates of some seconds
	leases []Lease
	err    error // of the leases
	health Health
	held   int // aggregates in quarantine
}

// overview shows how the engine is. It is the model of a page.
func (c *Console) overview(r *request) (view, error) {
	s, err := r.status()
	if err != nil {
		return view{}, err
	}
	d := overviewData{status: s}
	if s.Journal != nil { // the rest has the same grant
		d.series = c.cfg.Engine.Series()
		d.leases, d.err = c.cfg.Engine.Leases(r.Context())
		d.health = c.cfg.Engine.Health()
		for _, v := range s.Views {
			d.held += v.Quarantined
		}
		d.now = latest(d.series)
	}
	return view{title: "Overview", nav: "/", body: overviewPage(r, d), live: true}, nil
}

// latestOver is the time over which the rates of now are taken.
const latestOver = 10 * time.Second

// latest joins the last samples.
func latest(series []Sample) Sample {
	var now Sample
	now.Tiers = map[string]uint64{}
	for i := len(series) - 1; i >= 0 && now.Over < latestOver; i-- {
		s := series[i]
		if now.At.IsZero() {
			now.At, now.P50, now.P99, now.Lag = s.At, s.P50, s.P99, s.Lag
		}
		now.Over += s.Over
		now.Commands += s.Commands
		now.Queries += s.Queries
		now.Appends += s.Appends
		if now.P99 == 0 {
			now.P50, now.P99 = s.P50, s.P99
		}
		for tier, n := range s.Tiers {
			now.Tiers[tier] += n
		}
	}
	return now
}

// rate is a number of a sample for each second.
func (s *Sample) rate(n uint64) float64 {
	if s.Over <= 0 {
		return 0
	}
	return float64(n) / s.Over.Seconds()
}

// tierShare is the share of the reads that a tier has answered in the last hour.
type tierShare struct {
	name  string
	n     uint64
	share float64
}

var tierOrder = map[string]int{"memory": 1, "kv": 2, "sql": 3, "journal": 4}

func tierShares(series []Sample) (of []tierShare, total uint64) {
	sums := map[string]uint64{}
	for _, s := range series {
		for tier, n := range s.Tiers {
			sums[tier] += n
			total += n
		}
	}
	for name, n := range sums {
		of = append(of, tierShare{name, n, float64(n) / float64(max(total, 1))})
	}
	sort.Slice(of, func(i, j int) bool {
		if a, b := tierOrder[of[i].name], tierOrder[of[j].name]; a != b {
			return a < b
		}
		return of[i].name < of[j].name
	})
	return of, total
}
