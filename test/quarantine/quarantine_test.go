package quarantine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// newer returns an event as a later version writes it.
func newer(key string, version int) string {
	return fmt.Sprintf(`{"type":"agent.state_set","aggregate":"agent","id":"a","key":%q,"version":%d,"timestamp":"2026-01-02T03:04:05Z",`+
		`"recorded_at":"2026-01-02T03:04:05Z","writer":"","command_id":"c","data":{"worth":2},"digest":"d","schema":99}`, key, version)
}

// TestAnEventOfALaterBuild: an event that no view can decode quarantines its
// aggregate in each view, and no other, over a kill and a failed retry, until
// it is dropped.
func TestAnEventOfALaterBuild(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, manual)
	c := e.Client(t)
	c.MustSet(t, "a", "bad", 1, nil)
	c.MustSet(t, "a", "good", 1, nil)
	reads(t, c, "a", "bad", "cached", "1 from memory")
	appendRaw(t, e, "agent.a.state.bad", newer("bad", 2))
	c.MustSet(t, "a", "good", 2, nil)
	quarantined := map[string]int{"hot": 1, "durable": 1, "feeds": 1, "notifications": 1}
	states(t, c, quarantined)
	e.Kill()
	e.Restart()
	c.MustSet(t, "a", "good", 3, nil)
	states(t, c, quarantined)

	for _, consistency := range []string{"cached", "hot", "strong"} {
		reads(t, c, "a", "bad", consistency, "engine.older")
	}
	reads(t, c, "a", "bad", "durable", "read.behind")
	reads(t, c, "a", "good", "cached", "3 from memory")
	reads(t, c, "a", "good", "hot", "3 from kv")
	reads(t, c, "a", "good", "durable", "3 from sql")
	if row, there := c.KV(t)["a.bad"]; there {
		t.Errorf("the bucket still shows %s", row)
	}
	if _, err := c.Set(t.Context(), "a", "bad", 3, nil); err == nil || harness.Refused(err).Status != 503 || harness.Refused(err).Code != "engine.older" {
		t.Errorf("set: %v", err)
	}

	all := deadLetters(t, e)
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, []string{"durable:agent.a.state.bad", "feeds:agent.a.state.bad", "hot:agent.a.state.bad", "notifications:agent.a.state.bad"}) {
		t.Errorf("dlq list: %v", got)
	}
	if l := all["durable:agent.a.state.bad"]; l.Revision != 3 || l.Waiting != 1 || !strings.Contains(l.Reason, "schema 99") || l.Source != "view durable" {
		t.Errorf("%+v", l)
	}
	if n := count(t, c, `SELECT count(*) FROM agents.dead_letters WHERE source = 'view durable' AND subject = 'agent.a.state.bad' AND body LIKE '%worth%'`); n != 1 {
		t.Errorf("%d dead letters in SQL", n)
	}
	if r := e.Run("verify", "--json"); r.Code != 1 || !strings.Contains(r.Stdout, "quarantined") || strings.Contains(r.Stdout, "was changed") || strings.Contains(r.Stdout, "is missing") {
		t.Errorf("verify ended with %d: %s", r.Code, r.Stdout)
	}
	for _, view := range []string{"durable", "hot"} {
		if r := e.Run("rebuild", view, "--plan", "--json"); r.Code != 0 || !strings.Contains(r.Stdout, `"events":`) {
			t.Errorf("the plan of a rebuild of %s: exit code %d: %s%s", view, r.Code, r.Stdout, r.Stderr)
		}
	}
	if text := e.Metrics(t.Context()); !strings.Contains(text, `tidemark_view_quarantined{view="hot"} 1`) {
		t.Errorf("metrics: %s", text)
	}

	dlq(t, e, "retry", "hot:agent.a.state.bad", 1, "still quarantined since revision 3")
	if l := deadLetters(t, e)["hot:agent.a.state.bad"]; l.Attempts != 1 {
		t.Errorf("%+v", l)
	}
	dlq(t, e, "retry", "hot:agent.a.state.none", 1, "no view has")
	dlq(t, e, "drop", "all", 0, "feeds:agent.a.state.bad dropped with 1 event\n")
	states(t, c, nil)
	if n := count(t, c, `SELECT count(*) FROM agents.dead_letters`); n != 0 || len(deadLetters(t, e)) != 0 {
		t.Errorf("%d dead letters in SQL, listed %v", n, deadLetters(t, e))
	}
	reads(t, c, "a", "bad", "cached", "engine.older") // dropping it does not make the event readable
	e.Kill()
	e.Restart()
	states(t, c, nil) // and it stays so
}

// TestARowThatSQLRefuses: a constraint in SQL quarantines aggregates in the
// durable view alone. After it is removed, a retry applies the events.
func TestARowThatSQLRefuses(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, manual)
	c := e.Client(t)
	for i := range 20 {
		c.MustSet(t, "a", fmt.Sprint("k", i), i, nil)
	}
	c.MustSet(t, "a", "bad", 0, nil)
	states(t, c, nil)
	harness.Exec(t, c.SQL(t), `ALTER TABLE agents.state ADD CONSTRAINT defect CHECK (state_key <> 'bad') NOT VALID`)
	harness.Exec(t, c.SQL(t), `ALTER TABLE agents.tasks ADD CONSTRAINT defect CHECK (kind <> 'bad') NOT VALID`)
	write := func(from int) {
		for i := from; i < from+20; i++ {
			c.MustSet(t, "a", fmt.Sprint("k", i%7), i, nil)
			c.MustSet(t, "a", "bad", i, nil)
			kind := "good"
			if i == 5 {
				kind = "bad"
			}
			if _, err := c.Command(t.Context(), fmt.Sprintf("commands.task.t%d.create", i), "", harness.M{"kind": kind}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0)
	e.Kill()
	e.Restart()
	write(20)
	states(t, c, map[string]int{"durable": 2, "notifications": 1})

	reads(t, c, "a", "bad", "cached", "39 from memory")
	reads(t, c, "a", "bad", "hot", "39 from kv")
	reads(t, c, "a", "bad", "durable", "read.behind")
	reads(t, c, "a", "k4", "durable", "39 from sql")
	var page struct {
		Source  string
		Entries []struct {
			Key   string
			Value json.RawMessage
		}
		Tasks       []struct{}
		Quarantined []string
	}
	body, err := c.Query(t.Context(), "queries.agent.a.entries", harness.M{"prefix": "bad"})
	if err != nil || json.Unmarshal(body, &page) != nil || page.Source != "journal" || len(page.Entries) != 1 || string(page.Entries[0].Value) != "39" {
		t.Errorf("entries: %s %v", body, err)
	}
	body, err = c.Query(t.Context(), "queries.tasks.list", nil)
	if err != nil || json.Unmarshal(body, &page) != nil || len(page.Tasks) != 39 || !slices.Equal(page.Quarantined, []string{"task.t5"}) {
		t.Errorf("tasks: %s %v", body, err)
	}
	if l := deadLetters(t, e)["durable:agent.a.state.bad"]; l.Waiting != 40 || !strings.Contains(l.Reason, "defect") {
		t.Errorf("%+v", l)
	}

	dlq(t, e, "retry", "all", 1, "durable:agent.a.state.bad still quarantined")
	harness.Exec(t, c.SQL(t), `ALTER TABLE agents.tasks DROP CONSTRAINT defect`)
	dlq(t, e, "retry", "durable:task.t5", 0, "caught up")
	states(t, c, map[string]int{"durable": 1, "notifications": 1})
	harness.Exec(t, c.SQL(t), `ALTER TABLE agents.state DROP CONSTRAINT defect`)
	dlq(t, e, "retry", "all", 0, "caught up")
	e.Kill() // Postgres ends too and loses what it has not written yet
	e.Restart()
	states(t, c, nil)
	reads(t, c, "a", "bad", "durable", "39 from sql")
	write(40)
	c.CheckAll(t)
	e.Verify()
	jsonb(t, e, c)
	if n := count(t, c, `SELECT count(*) FROM agents.dead_letters`); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
}

// jsonb: JSON that the codec accepts and jsonb refuses is in the hot view and
// quarantined in SQL.
func jsonb(t *testing.T, e *harness.Engine, c *harness.Client) {
	c.MustSet(t, "b", "k", 1, nil)
	all := c.Journal(t)
	body := strings.NewReplacer(`"version":1`, `"version":2`, `"value":1`, `"value":"\u0000"`).Replace(string(all[len(all)-1].Raw))
	appendRaw(t, e, "agent.b.state.k", body)
	c.MustSet(t, "b", "other", 2, nil)
	states(t, c, map[string]int{"durable": 1, "notifications": 1})
	reads(t, c, "b", "k", "hot", `"\u0000" from kv`)
	reads(t, c, "b", "k", "durable", "read.behind")
	c.MustSet(t, "b", "k", 3, nil) // waits behind it
	states(t, c, map[string]int{"durable": 1, "notifications": 1})
	rebuild(t, e, "durable")
	states(t, c, map[string]int{"durable": 1, "notifications": 1})
	reads(t, c, "b", "k", "durable", "read.behind")
	dlq(t, e, "drop", "durable:agent.b.state.k", 0, "dropped with 2 events")
	c.MustSet(t, "b", "k", 4, nil) // a readable event that replaces the row
	states(t, c, nil)
	reads(t, c, "b", "k", "durable", "4 from sql")
	rebuild(t, e, "durable") // the rebuild still cannot apply the dropped event
	states(t, c, nil)
	reads(t, c, "b", "k", "durable", "4 from sql")
}
