package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/httpserver"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/telemetry"
	"github.com/tidemark-engine/tidemark/internal/origin"
	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/projections"
)

// serveHTTP answers /healthz, /readyz, /metrics, /mcp and the console from the first moment
// of a start.
func (e *Engine) serveHTTP(context.Context) (err error) {
	if err = e.openCertificates(); err != nil {
		return err
	}
	e.http, err = httpserver.Listen(httpserver.Config{
		Listen: e.cfg.HTTP, Hosts: e.cfg.HTTPHosts, Certs: e.certs, OwnCredentials: e.cfg.OwnCredentials, Profiles: e.cfg.Pprof, Log: e.log,
	})
	if err != nil {
		return err
	}
	e.http.HandleFunc("GET /healthz", e.healthz)
	e.http.HandleFunc("GET /readyz", e.readyz)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} { // the console has every other GET
		e.http.HandleFunc(method+" "+mcpPath, e.serveMCP)
	}
	e.metrics.Show(e.scraped)
	e.http.Handle("GET /metrics", e.metrics.Handler())
	e.console = e.newConsole()
	e.console.Register(e.http.ServeMux)
	e.http.Serve()
	e.stops.Add(func(ctx context.Context) {
		e.console.Close() // ends its live pages
		e.http.Stop(ctx)
	})
	return nil
}

// healthz is 200 while the engine works or recovers by itself.
func (e *Engine) healthz(w http.ResponseWriter, r *http.Request) {
	report, _ := e.report(r)
	if report.Alive {
		fmt.Fprintln(w, "alive")
		return
	}
	http.Error(w, strings.Join(report.Reasons(), "\n"), http.StatusServiceUnavailable)
}

// report is what the sender of a request may know of the engine's readiness. Probes of other
// machines have no certificate: with TLS they learn which components have a problem, but neither
// the reasons nor the views, which may name what belongs to principals; all is false.
func (e *Engine) report(r *http.Request) (report readiness.Report, all bool) {
	report = e.readiness.Report()
	if e.certs == nil || origin.Here(r) || len(r.TLS.VerifiedChains) > 0 {
		return report, true
	}
	report.Problems = slices.Clone(report.Problems)
	for i := range report.Problems {
		report.Problems[i].Reason = report.Problems[i].Level.String()
	}
	return report, false
}

// readyz is 200 while commands are executed.
func (e *Engine) readyz(w http.ResponseWriter, r *http.Request) {
	report, all := e.report(r)
	answer := struct {
		Ready    bool                 `json:"ready"`
		Reasons  []string             `json:"reasons"`
		Problems []readiness.Problem  `json:"problems,omitempty"`
		Uptime   float64              `json:"uptime_seconds"`
		Views    []projections.Status `json:"views"`
	}{report.Ready, report.Reasons(), report.Problems, time.Since(e.started).Seconds(), []projections.Status{}}
	if all && e.assembled.Load() {
		answer.Views = e.views.status(e.journal.lastHeads())
	}
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		e.log.Debug("/readyz: the client disconnected", "error", err)
	}
}

// scraped is the engine as a scrape of its metrics sees it.
func (e *Engine) scraped() telemetry.State {
	s := telemetry.State{Version: e.version, Report: e.readiness.Report()}
	if e.certs != nil {
		c := e.certs.Status()
		s.Certs = &c
	}
	if !e.assembled.Load() {
		return s
	}
	r := &telemetry.Running{
		SQL: e.postgres.DB != nil, Broken: e.postgres.Problem(), Stats: e.commands.handler.Stats(), InFlight: e.commands.handler.InFlight(),
		DeadLetters: e.health.deadLetters(), Stuck: e.health.stuckTasks(), Views: e.views.status(e.journal.lastHeads()),
		HeadsAge: e.journal.headsAge(), Usage: e.guard.Usage(), Audit: e.audit.status(),
	}
	r.Enqueued, r.Oldest = e.health.enqueued()
	r.Claimable, r.Polls = e.commands.tasks.Waiting()
	r.Storage, r.Keys = e.health.last()
	s.Running = r
	return s
}
