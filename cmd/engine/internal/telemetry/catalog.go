package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metric is one metric of /metrics.
type metric struct {
	name, kind, help string
	labels           []string
	instead          string // of an old name: what replaces it
	desc             *prometheus.Desc
}

// catalog has every metric of the engine, in the order of its page. Those of the Go
// runtime and of the process are not in it.
var catalog []*metric

func define(kind, name, help string, labels ...string) *metric {
	m := &metric{name: name, kind: kind, help: help, labels: labels, desc: prometheus.NewDesc(name, help, labels, nil)}
	catalog = append(catalog, m)
	return m
}

// alias is a metric under the name that older monitoring reads.
func alias(instead, kind, name, help string, labels ...string) *metric {
	m := define(kind, name, help, labels...)
	m.instead = instead
	return m
}

const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

var (
	metReady   = define(gauge, "tidemark_ready", "1 while commands are executed.")
	metAlive   = define(gauge, "tidemark_alive", "1 while the engine works or recovers by itself.")
	metProblem = define(gauge, "tidemark_problem_seconds", "Time that a component has had a problem.", "component", "level")
	metBuild   = define(gauge, "tidemark_build_info", "1, with the version of the program.", "version")
	metNATS    = define(gauge, "tidemark_nats_up", "1 while NATS and the journal answer.")
	metSQL     = define(gauge, "tidemark_postgres_up", "1 while Postgres answers and can be used. Missing with --postgres off.")

	metRequests  = define(counter, "tidemark_requests_total", "Requests answered, by verb and outcome (a receipt's outcome or an error's status).", "verb", "outcome")
	metLatency   = define(histogram, "tidemark_request_seconds", "Time from a request's arrival to its answer.", "verb")
	metRefused   = define(counter, "tidemark_refused_total", "Requests refused because their sender lacks a grant, by kind of the grant.", "kind")
	metFloods    = define(counter, "tidemark_floods_total", "Connections closed because they went on sending while their requests were refused.")
	metInFlight  = define(gauge, "tidemark_commands_in_flight", "Commands without an answer.")
	metAppends   = define(counter, "tidemark_appends_total", "Events appended by this engine.")
	metConflicts = define(counter, "tidemark_conflicts_total", "Appends that lost against another writer.")
	metReplays   = define(counter, "tidemark_replays_total", "Repeated commands answered with their first receipt.")
	metUnasked   = define(counter, "tidemark_archive_unasked_total", "Commands whose id carries no time, executed while the archive was unavailable.")
	metQueued    = define(gauge, "tidemark_enqueued_commands", "Enqueued commands without an outcome.")
	metOldest    = define(gauge, "tidemark_enqueued_command_oldest_seconds", "Age of the oldest enqueued command without an outcome; 0 = there is none.")
	metLetters   = define(gauge, "tidemark_dead_letters", "Dead letters that wait for engine dlq, by source.", "source")

	metLag         = define(gauge, "tidemark_view_lag_events", "Events from a view's position to the journal's head.", "view", "partition")
	metLagTime     = define(gauge, "tidemark_view_lag_seconds", "Age of the oldest event that a view has not folded. While the journal does not answer, at least the time since it last did.", "view", "partition")
	metUp          = define(gauge, "tidemark_view_up", "1 while a view runs, 0 while it waits, is halted or runs in another engine.", "view", "partition")
	metQuarantined = define(gauge, "tidemark_view_quarantined", "Aggregates that a view holds in quarantine.", "view")
	metWrite       = define(histogram, "tidemark_view_write_seconds", "Time a view took to write one batch.", "view")
	metEvents      = define(counter, "tidemark_view_events_total", "Events a view has folded.", "view")

	metTiers = define(counter, "tidemark_tier_hits_total", "Reads answered, by tier.", "tier")
	metKeys  = define(gauge, "tidemark_kv_entries", "Keys in a hot bucket.", "bucket")

	metTasks = define(gauge, "tidemark_tasks_claimable", "Tasks that tasks.next can claim, as this engine knows.")
	metPolls = define(gauge, "tidemark_tasks_next_waiting", "Requests on tasks.next that wait in this engine.")
	metStuck = define(gauge, "tidemark_tasks_stuck", "Tasks that are started, have had no event for an hour, and have neither a lease nor a deadline that ends them; at most 10,000 are counted. Missing without SQL.")
	metFired = define(counter, "tidemark_reminders_fired_total", "Commands of reminders that were answered, by outcome; refused = with an error.", "outcome")
	metLate  = define(histogram, "tidemark_reminder_late_seconds", "Time from a reminder's due time to the answer of its command.")

	metJournal      = define(gauge, "tidemark_journal_bytes", "Storage that the journal's streams take.")
	metJournalLimit = define(gauge, "tidemark_journal_limit_bytes", "Storage that the journal may take, by the limits of its streams or else of the storage; 0 = no limit is known.")
	metUsed         = define(gauge, "tidemark_storage_used_bytes", "Storage that all streams take.")
	metLimit        = define(gauge, "tidemark_storage_limit_bytes", "Storage that the streams may take; 0 = no limit is known.")

	metAudited  = define(counter, "tidemark_audit_checked_total", "Aggregates that the background audit has verified.")
	metVerified = define(gauge, "tidemark_audit_last_verified_timestamp_seconds", "Unix time at which the background audit last verified an aggregate. Missing before the first.")
	metAuditBad = define(gauge, "tidemark_audit_differences", "Differences that the background audit has found and that still exist.")

	metCertEnd   = define(gauge, "tidemark_tls_certificate_expiry_timestamp_seconds", "Unix time at which the served TLS certificate ends.")
	metCertFails = define(counter, "tidemark_tls_reload_failures_total", "Reads of the TLS files that failed; the certificate before stays in use.")

	oldKeys  = alias(`tidemark_kv_entries`, gauge, "kv_entry_count", "Keys in a hot bucket.", "bucket")
	oldDirty = alias(`sum(tidemark_view_lag_events{view="durable"})`, gauge, "dirty_state_entries", "Events not yet flushed to SQL.")
	oldLag   = alias(`max(tidemark_view_lag_seconds{view="durable"})`, gauge, "consistency_lag_ms", "Age of the oldest event that is not in SQL, in milliseconds.")
	oldFlush = alias(`tidemark_view_write_seconds{view="durable"}`, histogram, "flush_duration_ms", "Time of one flush of dirty entries to SQL, in milliseconds.")
)

func (m *metric) counters() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.name, Help: m.help}, m.labels)
}

func (m *metric) histograms(from, factor float64, buckets int) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: m.name, Help: m.help, Buckets: prometheus.ExponentialBuckets(from, factor, buckets),
	}, m.labels)
}
