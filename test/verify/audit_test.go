package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// audit is the section of status about the background audit.
type audit struct {
	State       string    `json:"state"`
	Checked     int       `json:"checked"`
	Differences int       `json:"differences"`
	Last        string    `json:"last_difference"`
	At          time.Time `json:"at"`
}

func (w *world) audit() (a audit, err error) {
	answer, err := w.c.Query(w.t.Context(), "queries.engine.status", nil)
	if err != nil {
		return a, err
	}
	var s struct {
		Audit *audit `json:"audit"`
	}
	if err := json.Unmarshal(answer, &s); err != nil || s.Audit == nil {
		return a, errors.Join(err, fmt.Errorf("status has no audit: %s", answer))
	}
	return *s.Audit, nil
}

// differ waits until the audit and its metric report so many differences.
func (w *world) differ(want int, last string) {
	w.t.Helper()
	harness.Eventually(w.t, fmt.Sprint(want, " differences"), func() error {
		a, err := w.audit()
		if metric := w.metric(w.t.Context(), "tidemark_audit_differences"); err != nil || a.Differences != want || metric != fmt.Sprint(want) {
			return fmt.Errorf("%+v, metric %s, %w", a, metric, err)
		}
		if a.State != "running" || want > 0 && (!strings.Contains(a.Last, last) || a.At.IsZero()) {
			return fmt.Errorf("%+v, want %s", a, last)
		}
		return nil
	})
}

// TestAudit: the audit finds changed rows, and one without events, and drops
// them from its report after their repair.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := start(t, "TIDEMARK_AUDIT_RATE=2000")
	w.fill()
	w.c.CaughtUp(t)
	w.differ(0, "")
	w.exec("UPDATE agents.state SET digest = 'x' WHERE agent_id = 'm0' AND state_key = 'k.1'")
	w.differ(1, "sql m0.k.1")
	w.exec("INSERT INTO agents.config SELECT 'ghost', 'k', config_value, state_text, version, revision, updated_at, digest FROM agents.config WHERE agent_id = 'm0'")
	w.differ(2, "sql config ghost.k")
	if _, err := w.kv("TASK_STATE").PutString(t.Context(), "ghost", "{}"); err != nil {
		t.Fatal(err)
	}
	w.differ(3, "kv task ghost")
	w.exec("UPDATE agents.events SET command_id = 'other' WHERE stream = 'session.m2'")
	w.differ(4, "archive session.m2")
	if !strings.Contains(w.Log(), "the audit found a difference") {
		t.Error("the log does not tell of a difference")
	}
	w.expect("repaired", w.verify("--repair").Repaired, "sql m0.k.1", "sql config ghost.k", "kv task ghost", "archive session.m2")
	w.differ(0, "")
	if checked := w.metric(t.Context(), "tidemark_audit_checked_total"); checked == "" || checked == "0" {
		t.Errorf("%q checked", checked)
	}
}

// TestLiveWritersAreNoDifference: neither verify, nor a sample, nor the audit
// reports writes under way as differences.
func TestLiveWritersAreNoDifference(t *testing.T) {
	t.Parallel()
	w := start(t, "TIDEMARK_AUDIT_RATE=500")
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for n := range 4 {
		c := w.Client(t)
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					write(c, n, i)
				}
			}
		})
	}
	for began := time.Now(); time.Since(began) < 2*time.Second; {
		for _, args := range [][]string{nil, {"--sample", "40"}} {
			if r := w.verify(args...); r.Code != 0 {
				t.Errorf("verify %v beside writers: %+v", args, r.Differences)
			}
		}
	}
	close(stop)
	writers.Wait()
	w.c.CaughtUp(t)
	w.differ(0, "")
	if log := w.Log(); strings.Contains(log, "the audit found a difference") {
		t.Error("the audit took something for a difference")
	}
	w.expect("in the end", w.verify().Differences)
}

// write sends one of a mixture of commands on few names; many lose, as
// intended.
func write(c *harness.Client, n, i int) {
	ctx, agent, key := context.Background(), fmt.Sprint("a", n%2), fmt.Sprint("k", i%5)
	task := fmt.Sprint("t", n, "-", i/4)
	subject, body := "agent."+agent+".set", M{"key": key, "value": i}
	switch i % 8 {
	case 1:
		body["strategy"] = "reject"
	case 2:
		subject, body = "agent."+agent+".delete", M{"key": key}
	case 3:
		subject, body = "task."+task+".create", M{"kind": "k"}
	case 4:
		subject, body = "config."+agent+".set", M{"key": key, "value": i}
	case 5:
		subject, body = "config."+agent+".unset", M{"key": key}
	case 6:
		subject, body = "session.s"+fmt.Sprint(n, i)+".open", M{"owner": "ann"}
	}
	_, _ = c.Command(ctx, "commands."+subject, harness.NewID(), body) // a write that loses is no failure
}
