package main

import (
	"context"
	"encoding/json"
	"net/url"
	"path/filepath"
	"regexp"
	"time"

	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// status is queries.engine.status and engine status --json (contract, section
// 7): enough for other clients to connect, and the truth about every view.
type status struct {
	Version    string               `json:"version"`
	UptimeS    float64              `json:"uptime_seconds"`
	Ready      bool                 `json:"ready"`
	Reasons    []string             `json:"reasons,omitempty"`
	NATS       natsStatus           `json:"nats"`
	Postgres   postgresStatus       `json:"postgres"`
	HTTP       string               `json:"http"`
	Data       string               `json:"data,omitempty"` // the engine's data directory on its machine
	Durability string               `json:"durability"`
	Detail     string               `json:"durability_detail"`
	Journal    journalStatus        `json:"journal"`
	Views      []projections.Status `json:"views"`
	InFlight   int64                `json:"commands_in_flight"`
	Prefix     string               `json:"subject_prefix,omitempty"`
	Topology   *topologyStatus      `json:"topology,omitempty"`

	Audit *verify.AuditStatus `json:"audit,omitempty"` // nil = without one
}

type natsStatus struct {
	URL     string `json:"url"`
	Mode    string `json:"mode"` // embedded, external
	State   string `json:"state"`
	Version string `json:"version,omitempty"`
}

type postgresStatus struct {
	URL     string `json:"url,omitempty"` // with credentials only for the managed one
	Mode    string `json:"mode"`          // managed, external, off
	State   string `json:"state"`         // up, away, off
	Reason  string `json:"reason,omitempty"`
	Version string `json:"version,omitempty"`
}

type journalStatus struct {
	Incarnation string   `json:"incarnation"`
	Partitions  int      `json:"partitions"`
	Replicas    int      `json:"replicas"`
	Heads       []uint64 `json:"heads"`
	Conflicts   int64    `json:"conflicts"`
	Replays     int64    `json:"replays"`
}

// lookTime bounds each look at a server for status.
const lookTime = 2 * time.Second

func (e *engine) status(ctx context.Context) status {
	looking, done := context.WithTimeout(ctx, lookTime)
	heads, away := e.heads(looking) // before all else: what waits longer must not cost the truth about the views
	done()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	s := status{
		Version: version, UptimeS: time.Since(e.started).Seconds(), Prefix: e.cfg.SubjectPrefix,
		InFlight: e.handler.InFlight(), Views: []projections.Status{},
		NATS: natsStatus{URL: e.natsURL, Mode: "external", State: "up"},
		Journal: journalStatus{
			Incarnation: e.journal.ID(), Partitions: e.journal.Partitions(), Replicas: e.journal.Replicas(),
			Conflicts: e.handler.Stats().Conflicts.Load(), Replays: e.handler.Stats().Replays.Load(),
		},
	}
	if e.http != nil {
		s.HTTP = e.http.url()
	}
	if abs, err := filepath.Abs(e.cfg.Data); err == nil {
		s.Data = abs
	}
	if e.nats != nil {
		s.NATS.Mode, s.NATS.Version = "embedded", e.nats.Version()
	} else {
		s.NATS.URL = redacted(e.natsURL)
		s.NATS.Version = e.conns[0].ConnectedServerVersion()
	}
	s.Durability, s.Detail = e.durability()
	s.Topology = e.topology.status(ctx)
	s.Postgres = e.postgresStatus(ctx)
	s.Audit = e.auditStatus()
	s.Ready, s.Reasons = e.ready(ctx)
	if away != nil {
		s.NATS.State = "away"
	}
	s.Journal.Heads, s.Views = heads, e.viewStatus(heads)
	return s
}

func (e *engine) statusJSON(ctx context.Context) ([]byte, error) { return json.Marshal(e.status(ctx)) }

// heads are the ends of the journal's partitions; where it does not answer, the
// last ones known, so that a lag is never shown as none.
func (e *engine) heads(ctx context.Context) ([]uint64, error) {
	heads := make([]uint64, e.journal.Partitions())
	for p := range heads {
		head, err := e.journal.Head(ctx, p)
		if err != nil {
			if known := e.known.Load(); known != nil {
				return *known, err
			}
			return heads, err
		}
		heads[p] = head
	}
	e.known.Store(&heads)
	return heads, nil
}

func (e *engine) viewStatus(heads []uint64) []projections.Status {
	all := make([]projections.Status, 0, len(e.views))
	for _, r := range e.views {
		head := uint64(0)
		if heads != nil {
			head = heads[r.Partition]
		}
		all = append(all, r.Status(head, time.Now()))
	}
	for _, status := range e.extra {
		all = append(all, status(heads != nil))
	}
	return all
}

// durability says in one word and one sentence what an acknowledgement means.
func (e *engine) durability() (string, string) {
	switch {
	case e.nats != nil && e.cfg.Durability == "synced":
		return "synced", "each event is on the disk of this machine before its command is acknowledged"
	case e.nats != nil:
		return "relaxed", "events reach the disk within a second after their command is acknowledged; a power cut may take that second"
	case e.journal.Replicas() >= 3:
		return "replicated", "a majority of the journal's replicas has each event before its command is acknowledged"
	}
	return "external", "one copy on an external server; what a power cut takes depends on its sync_interval (always = nothing)"
}

func (e *engine) postgresStatus(ctx context.Context) postgresStatus {
	if e.db == nil {
		return postgresStatus{Mode: "off", State: "off"}
	}
	s := postgresStatus{URL: e.pgURL, Mode: "external", State: "up"}
	if e.pgLocal != nil {
		s.Mode, s.Version = "managed", e.pgLocal.Version()
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime/2)
	defer cancel()
	if err := e.db.Ping(ctx); err != nil {
		s.State, s.Reason = "away", err.Error()
	}
	return s
}

// ready tells whether commands and queries are served, and what stands against
// it. A view that lags does not; a view that is dead does.
func (e *engine) ready(ctx context.Context) (bool, []string) {
	reasons := []string{}
	for _, nc := range e.conns {
		if !nc.IsConnected() {
			reasons = append(reasons, "NATS connection "+nc.Opts.Name+" is "+nc.Status().String())
		}
	}
	if len(reasons) == 0 {
		if _, err := e.heads(ctx); err != nil {
			reasons = append(reasons, "the journal does not answer: "+err.Error())
		}
	}
	if !e.serving.Load() {
		reasons = append(reasons, "the service is not offered yet")
	}
	for _, v := range e.viewStatus(nil) {
		if v.State == projections.Halted {
			reasons = append(reasons, "view "+v.Name+" is halted: "+v.Reason)
		}
	}
	return len(reasons) == 0, reasons
}

// redacted hides the password of an external server's URL.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(a connection string)"
	}
	return u.Redacted()
}

var semverForm = regexp.MustCompile(`^v?(\d+\.\d+\.\d+)`)

// semver is the version as micro services take it.
func semver(v string) string {
	if m := semverForm.FindStringSubmatch(v); m != nil {
		return m[1]
	}
	return "0.0.0"
}
