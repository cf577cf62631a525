package deploy_test

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
)

const alertsFile = "../prometheus/alerts.yml"

func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(alertsFile, false, model.UTF8Validation, promqlParser, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil || len(groups.Groups) != 1 {
		t.Fatal("the file has not one group")
	}
	return groups.Groups[0].Rules
}

// Each alert names metrics that exist, how bad it is, and a part of the runbook.
func TestAlertsAreWhole(t *testing.T) {
	runbook := string(read(t, "../../docs/howto/operate.md"))
	known := metrics(t)
	for _, r := range rules(t) {
		check(t, r.Alert, r.Expr, known)
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", r.Alert)
		}
		const page = "https://github.com/tidemark-engine/tidemark/blob/main/docs/howto/operate.md#"
		anchor, found := strings.CutPrefix(r.Annotations["runbook_url"], page)
		if !found || anchor != strings.ToLower(r.Alert) {
			t.Errorf("%s: the runbook is %s", r.Alert, r.Annotations["runbook_url"])
		}
		if !regexp.MustCompile(`(?m)^### ` + r.Alert + `$`).MatchString(runbook) {
			t.Errorf("docs/howto/operate.md has no part ### %s", r.Alert)
		}
	}
}

// healthy is an engine with load and without a problem. A step is a minute.
const healthy = `
up{job="tidemark",instance="a"} 1x180
tidemark_ready{job="tidemark",instance="a"} 1x180
tidemark_nats_up{job="tidemark",instance="a"} 1x180
tidemark_postgres_up{job="tidemark",instance="a"} 1x180
tidemark_view_lag_seconds{job="tidemark",instance="a",view="durable",partition="0"} 0x180
tidemark_view_up{job="tidemark",instance="a",view="durable",partition="0"} 1x180
tidemark_view_up{job="tidemark",instance="b",view="durable",partition="0"} 0x180
tidemark_view_quarantined{job="tidemark",instance="a",view="durable"} 0x180
tidemark_dead_letters{job="tidemark",instance="a",source="commands"} 0x180
tidemark_tasks_stuck{job="tidemark",instance="a"} 0x180
tidemark_enqueued_command_oldest_seconds{job="tidemark",instance="a"} 1x180
tidemark_storage_used_bytes{job="tidemark",instance="a"} 80x180
tidemark_storage_limit_bytes{job="tidemark",instance="a"} 100x180
tidemark_storage_used_bytes{job="tidemark",instance="c"} 80x180
tidemark_storage_limit_bytes{job="tidemark",instance="c"} 0x180
tidemark_journal_bytes{job="tidemark",instance="a"} 80x180
tidemark_journal_limit_bytes{job="tidemark",instance="a"} 100x180
tidemark_audit_differences{job="tidemark",instance="a"} 0x180
tidemark_audit_last_verified_timestamp_seconds{job="tidemark",instance="a"} 0+60x180
tidemark_requests_total{job="tidemark",instance="a",verb="commands.agent.set",outcome="accepted"} 0+600x180
tidemark_requests_total{job="tidemark",instance="a",verb="commands.agent.set",outcome="503"} 0+6x180
tidemark_requests_total{job="tidemark",instance="a",verb="commands.agent.set",outcome="429"} 0+6x180
tidemark_request_seconds_bucket{job="tidemark",instance="a",verb="commands.agent.set",le="0.01"} 0+600x180
tidemark_request_seconds_bucket{job="tidemark",instance="a",verb="commands.agent.set",le="10"} 0+600x180
tidemark_request_seconds_bucket{job="tidemark",instance="a",verb="commands.agent.set",le="+Inf"} 0+600x180
tidemark_request_seconds_bucket{job="tidemark",instance="a",verb="commands.tasks.next",le="0.01"} 0x180
tidemark_request_seconds_bucket{job="tidemark",instance="a",verb="commands.tasks.next",le="10"} 0+600x180
tidemark_request_seconds_bucket{job="tidemark",instance="a",verb="commands.tasks.next",le="+Inf"} 0+600x180
tidemark_reminders_fired_total{job="tidemark",instance="a",outcome="refused"} 0x180
tidemark_reminders_fired_total{job="tidemark",instance="a",outcome="accepted"} 0+6x180
tidemark_tls_certificate_expiry_timestamp_seconds{job="tidemark",instance="a"} 2592000x180
`

// broken is what replaces series of the healthy engine; from says at which minute the
// alert begins to be pending.
var broken = map[string]struct {
	series string
	from   int
}{
	"TidemarkDown":                 {`up{job="tidemark",instance="a"} 1x59 0x121`, 60},
	"TidemarkNotReady":             {`tidemark_ready{job="tidemark",instance="a"} 1x59 0x121`, 60},
	"TidemarkNATSDown":             {`tidemark_nats_up{job="tidemark",instance="a"} 1x59 0x121`, 60},
	"TidemarkPostgresDown":         {`tidemark_postgres_up{job="tidemark",instance="a"} 1x59 0x121`, 60},
	"TidemarkViewBehind":           {`tidemark_view_lag_seconds{job="tidemark",instance="a",view="durable",partition="0"} 0x59 0+60x121`, 62},
	"TidemarkViewStopped":          {`tidemark_view_up{job="tidemark",instance="a",view="durable",partition="0"} 1x59 0x121`, 60},
	"TidemarkQuarantined":          {`tidemark_view_quarantined{job="tidemark",instance="a",view="durable"} 0x59 2x121`, 60},
	"TidemarkDeadLetters":          {`tidemark_dead_letters{job="tidemark",instance="a",source="commands"} 0x59 2x121`, 60},
	"TidemarkTasksStuck":           {`tidemark_tasks_stuck{job="tidemark",instance="a"} 0x59 2x121`, 60},
	"TidemarkEnqueuedCommandsWait": {`tidemark_enqueued_command_oldest_seconds{job="tidemark",instance="a"} 1x59 0+60x121`, 66},
	"TidemarkStorageAlmostFull":    {`tidemark_storage_used_bytes{job="tidemark",instance="a"} 80x59 90x121`, 60},
	"TidemarkJournalAlmostFull":    {`tidemark_journal_bytes{job="tidemark",instance="a"} 80x59 90x121`, 60},
	"TidemarkAuditDifferences":     {`tidemark_audit_differences{job="tidemark",instance="a"} 0x59 1x121`, 60},
	"TidemarkAuditStopped":         {`tidemark_audit_last_verified_timestamp_seconds{job="tidemark",instance="a"} 0+60x60 3600x120`, 121},
	"TidemarkErrors":               {`tidemark_requests_total{job="tidemark",instance="a",verb="commands.agent.set",outcome="503"} 0+0x59 0+600x121`, 61},
	"TidemarkOverloaded":           {`tidemark_requests_total{job="tidemark",instance="a",verb="commands.agent.set",outcome="429"} 0x59 0+600x121`, 61},
	"TidemarkSlow":                 {`tidemark_request_seconds_bucket{job="tidemark",instance="a",verb="commands.agent.set",le="0.01"} 0+0x180`, 1},
	"TidemarkRemindersRefused":     {`tidemark_reminders_fired_total{job="tidemark",instance="a",outcome="refused"} 0x59 0+1x121`, 61},
	"TidemarkCertificateExpires":   {`tidemark_tls_certificate_expiry_timestamp_seconds{job="tidemark",instance="a"} 608400x180`, 61},
}

// Each alert fires after its time once its trouble is there, not before, and no alert fires
// for a healthy engine.
func TestAlertsFire(t *testing.T) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute})
	defer engine.Close()
	well := parse(t, healthy)
	all := rules(t)
	for _, r := range all {
		for minute := 0; minute <= 180; minute += 5 {
			if engineHolds(t, engine, well, r.Expr, minute) {
				t.Errorf("%s is pending in a healthy engine at minute %d", r.Alert, minute)
				break
			}
		}
		trouble, known := broken[r.Alert]
		if !known {
			t.Errorf("%s has no test", r.Alert)
			continue
		}
		ill := well.with(parse(t, trouble.series))
		if trouble.from > 0 && engineHolds(t, engine, ill, r.Expr, trouble.from-1) {
			t.Errorf("%s is pending before minute %d", r.Alert, trouble.from)
		}
		fires := trouble.from + int(time.Duration(r.For)/time.Minute)
		for minute := trouble.from; minute <= fires; minute++ {
			if !engineHolds(t, engine, ill, r.Expr, minute) {
				t.Errorf("%s does not fire: at minute %d it is not pending, it must be from %d to %d", r.Alert, minute, trouble.from, fires)
				break
			}
		}
	}
	if len(broken) != len(all) {
		t.Errorf("%d tests of %d alerts", len(broken), len(all))
	}
}
