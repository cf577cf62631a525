package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/internal/redact"
)

// lookTime bounds each request to a server for the status.
const lookTime = 2 * time.Second

func (e *Engine) status(ctx context.Context) deployment.Status {
	// The heads first: the requests below may use up their time, and the lag of
	// the views must still be right.
	headsCtx, cancel := context.WithTimeout(ctx, lookTime)
	heads, headsErr := e.journal.heads(headsCtx)
	cancel()
	ctx, cancel = context.WithTimeout(ctx, lookTime)
	defer cancel()
	stats := e.commands.handler.Stats()
	report := e.readiness.Report()
	s := deployment.Status{
		Version: e.version, UptimeS: time.Since(e.started).Seconds(), Prefix: e.cfg.SubjectPrefix,
		NATS: deployment.NATSStatus{URL: e.nats.URL, Mode: "embedded", State: "up"}, HTTP: e.http.URL(),
		Journal: deployment.JournalStatus{
			Incarnation: e.journal.ID(), Partitions: e.journal.Partitions(), Replicas: e.journal.Replicas(), Heads: heads,
			Conflicts: stats.Conflicts.Load(), Replays: stats.Replays.Load(),
		},
		Views: e.views.status(heads), InFlight: e.commands.handler.InFlight(),
		Topology: e.topology.status(ctx, e.reconciler), Postgres: e.postgres.Status(e.health.problem("postgres")), Audit: e.audit.status(),
		TLS:   e.tlsStatus(),
		Ready: report.Ready, Reasons: report.Reasons(), Problems: report.Problems,
	}
	if abs, err := filepath.Abs(e.cfg.Data); err == nil {
		s.Data = abs
	}
	if e.nats.Embedded != nil {
		s.NATS.Version = e.nats.Embedded.Version()
	} else {
		s.NATS.Mode, s.NATS.URL = "external", redact.URL(e.nats.URL)
		s.NATS.Version, s.NATS.Accounts = e.nats.First().ConnectedServerVersion(), e.nats.Mode
	}
	at := domain.Token{Journal: e.journal.Incarnation(), Positions: map[int]uint64{}}
	for p, head := range heads {
		at.Positions[p] = head
	}
	if s.Token = at.String(); headsErr != nil {
		s.NATS.State, s.Token = "away", ""
	}
	s.Durability, s.Detail = e.durability()
	s.Storage, _ = e.health.last()
	return s
}

func (e *Engine) statusJSON(ctx context.Context) ([]byte, error) { return plain(e.status(ctx)) }

// plain is JSON in which <, > and & stand as they are, as in every answer of the engine.
func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// durability is what an acknowledgement promises, as one word and one sentence.
func (e *Engine) durability() (word, sentence string) {
	switch {
	case e.nats.Embedded != nil && e.cfg.Durability == "synced":
		return "synced", "each event is on the disk of this machine before its command is acknowledged"
	case e.nats.Embedded != nil:
		return "relaxed", "events reach the disk within a second after their command is acknowledged; a power failure may lose that second"
	case e.journal.Replicas() >= 3:
		return "replicated", "a majority of the journal's replicas has each event before its command is acknowledged"
	}
	return "external", "one copy on an external server; its sync_interval decides what a power failure loses (always = nothing)"
}

// Banner lists the servers and addresses of a started engine, says what an
// acknowledgement promises, and shows commands to try with the program.
func (e *Engine) Banner(program string) string {
	mode, detail := e.durability()
	natsMode, pgLine := "embedded", "off: lists need SQL; commands and reads do not"
	if e.nats.Embedded == nil {
		natsMode = "external"
	}
	switch {
	case e.postgres.Local != nil:
		pgLine = e.postgres.Local.URL() + "  (managed, " + e.postgres.Local.Version() + ")"
	case e.postgres.DB != nil:
		pgLine = e.postgres.URL + "  (external)"
	}
	if e.postgres.DB != nil && e.postgres.DB.Schema() != string(pg.Live) {
		pgLine += "  schema " + e.postgres.DB.Schema()
	}
	if e.postgres.Risk != "" {
		pgLine += "  WARNING: " + e.postgres.Risk
	}
	if problem := e.postgres.Problem(); problem != "" {
		pgLine += "  NOT IN USE: " + problem
	}
	at, prefix := "", e.nats.Subjects.Root("")
	if e.cfg.Data != "./data" {
		at = " --data " + e.cfg.Data
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Tidemark %s serves.\n", e.version)
	fmt.Fprintf(&b, "  NATS        %s  (%s)\n", redact.URL(e.nats.URL), natsMode)
	if e.nats.Accounts != nil {
		fmt.Fprintf(&b, "  clients     %s\n", e.clients())
	}
	fmt.Fprintf(&b, "  Postgres    %s\n", pgLine)
	fmt.Fprintf(&b, "  console     %s/\n", e.http.URL())
	fmt.Fprintf(&b, "  HTTP        %s/readyz  /healthz  /metrics\n", e.http.URL())
	fmt.Fprintf(&b, "  journal     %s, %s, data in %s\n", counted.Of(e.journal.Partitions(), "partition"), counted.Of(e.journal.Replicas(), "replica"), e.cfg.Data)
	fmt.Fprintf(&b, "  durability  %s: %s\n", mode, detail)
	fmt.Fprintf(&b, "Try, in another terminal:\n")
	fmt.Fprintf(&b, "  %s send%s %scommands.agent.a1.set '{\"key\":\"mood\",\"value\":\"curious\"}'\n", program, at, prefix)
	fmt.Fprintf(&b, "  %s query%s %squeries.agent.a1.get '{\"key\":\"mood\"}'\n", program, at, prefix)
	fmt.Fprintf(&b, "  %s demo%s\n", program, at)
	return b.String()
}

// clients says who may connect.
func (e *Engine) clients() string {
	if e.cfg.Auth == "on" {
		return "need the credentials of a principal (--auth on)"
	}
	return "development mode: no credentials needed, on this machine alone; they cannot touch the journal, the buckets or each other's answers (--auth on for credentials)"
}
