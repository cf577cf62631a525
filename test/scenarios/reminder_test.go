package scenarios

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestReminders: reminders come due on time at every door, over a kill, a rebuild and a
// removed bucket; their state is in every view, and an import goes on with them.
func TestReminders(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	e.RunPage(t, "docs/howto/remind.md")
	remindersAtEveryDoor(t, e, c)
	remindersOnTime(t, c)

	// A kill over due times.
	for _, missed := range []string{"one", "all", "skip"} {
		c.MustDo(t, "reminder.down-"+missed+".set", M{"every_ms": 1000, "missed": missed, "command": M{"subject": "agent.down-" + missed + ".add", "body": M{"key": "n", "delta": 1}}})
	}
	soon := time.Now().Add(1500 * time.Millisecond).UTC().Format(time.RFC3339Nano)
	c.MustDo(t, "reminder.missed.set", M{"at": soon, "missed": "skip", "command": M{"subject": "agent.missed.set", "body": M{"key": "k", "value": 1}}})
	c.MustDo(t, "reminder.late.set", M{"at": soon, "command": M{"subject": "agent.late.set", "body": M{"key": "k", "value": 1}}})
	e.Kill()
	harness.Eventually(t, "the engine is down over several due times", func() bool {
		at, err := time.Parse(time.RFC3339Nano, soon)
		return err == nil && time.Since(at) > 2500*time.Millisecond
	})
	e.Restart()
	c = e.Client(t)
	awaitReminder(t, c, "late", func(r remindState) bool { return r.Status == "done" && r.Fired == 1 && r.Missed == 0 })
	awaitReminder(t, c, "missed", func(r remindState) bool { return r.Status == "done" && r.Fired == 0 && r.Missed == 1 })
	awaitReminder(t, c, "down-one", func(r remindState) bool { return r.Fired > 0 && r.Missed > 0 })
	awaitReminder(t, c, "down-all", func(r remindState) bool { return r.Fired > 3 && r.Missed == 0 })
	awaitReminder(t, c, "down-skip", func(r remindState) bool { return r.Fired > 0 && r.Missed > 1 })
	for _, missed := range []string{"one", "all", "skip"} {
		if _, err := c.Command(t.Context(), "commands.reminder.down-"+missed+".cancel", "", nil); err != nil {
			t.Error(err)
		}
		once(t, c, "down-"+missed)
	}
	_, err := c.Get(t.Context(), "missed", "k", nil)
	harness.WantRefusal(t, "a command that was missed", err, 404, "state.not_found")

	remindersInTheViews(t, e, c)
}

// remindersAtEveryDoor sets a reminder "door-…" at each door.
func remindersAtEveryDoor(t *testing.T, e *harness.Engine, c *harness.Client) {
	set := func(door string) M {
		return M{"every_ms": 1000, "count": 2, "agent_id": "doors", "command": M{"subject": "agent.door-" + door + ".add", "body": M{"key": "n", "delta": 1}}}
	}
	c.MustDo(t, "reminder.door-request.set", set("request"))
	for _, atomic := range []bool{true, false} {
		door := fmt.Sprint("batch-", atomic)
		if got, err := send(t, c, atomic, item("", "reminder.door-"+door+".set", set(door))); err != nil || got.Results[0].Receipt.Outcome != "accepted" {
			t.Errorf("a batch: %+v, %v", got, err)
		}
	}
	text, err := json.Marshal(set("enqueue"))
	harness.Must(t, err)
	_, err = c.JS.PublishMsg(t.Context(), &nats.Msg{Subject: "enqueue.reminder.door-enqueue.set", Header: nats.Header{nats.MsgIdHdr: []string{"remind"}}, Data: text})
	harness.Must(t, err)
	text, err = json.Marshal(set("outbox"))
	harness.Must(t, err)
	harness.Exec(t, c.SQL(t), `INSERT INTO agents.outbox (command_id, subject, body) VALUES ('remind', 'reminder.door-outbox.set', $1)`, string(text))
	text, err = json.Marshal(set("cli"))
	harness.Must(t, err)
	if r := e.Run("send", "commands.reminder.door-cli.set", string(text)); r.Code != 0 {
		t.Errorf("send: %+v", r)
	}
	c.MustDo(t, "reminder.refused.set", M{"every_ms": 1000, "count": 1, "command": M{"subject": "task.none.start", "body": M{"agent_id": "a"}}})
	c.MustDo(t, "reminder.chain.set", M{"every_ms": 1000, "count": 1, "command": M{"subject": "reminder.chained.set", "body": M{
		"every_ms": 1000, "count": 1, "command": M{"subject": "message.chain.direct", "body": M{"to": "inbox", "body": "here"}}}}})
	c.MustDo(t, "reminder.itself.set", M{"every_ms": 1000, "command": M{"subject": "reminder.itself.cancel"}})
	c.MustDo(t, "reminder.far.set", M{"at": "2500-01-01T00:00:00Z", "command": M{"subject": "agent.far.set", "body": M{"key": "k", "value": 1}}})
	c.MustDo(t, "reminder.gone.set", M{"every_ms": 1000, "command": M{"subject": "agent.gone.set", "body": M{"key": "k", "value": 1}}})
	c.MustDo(t, "reminder.gone.cancel", nil)
	c.MustDo(t, "reminder.again.set", M{"every_ms": 1000, "command": M{"subject": "agent.gone.set", "body": M{"key": "k", "value": 1}}})
	c.MustDo(t, "reminder.again.set", M{"at": "2500-01-01T00:00:00Z", "command": M{"subject": "agent.far.set", "body": M{"key": "k", "value": 1}}})
}

func remindersOnTime(t *testing.T, c *harness.Client) {
	for _, door := range []string{"request", "batch-true", "batch-false", "enqueue", "outbox", "cli"} {
		r := awaitReminder(t, c, "door-"+door, func(r remindState) bool { return r.Status == "done" && r.Fired == 2 && r.Last.Outcome == "accepted" })
		t.Logf("%s: %s late", door, r.Last.At.Sub(r.Last.Due))
		once(t, c, "door-"+door)
	}
	awaitReminder(t, c, "refused", func(r remindState) bool {
		return r.Status == "done" && r.Last.Outcome == "refused" && r.Last.Error.Code == "task.not_found"
	})
	awaitReminder(t, c, "chained", func(r remindState) bool { return r.Status == "done" && r.Last.Outcome == "accepted" })
	awaitReminder(t, c, "itself", func(r remindState) bool {
		return r.Status == "cancelled" && r.Pending == nil && r.Last.Outcome == "accepted"
	})
	harness.Eventually(t, "the message of a reminder", func() error {
		answer, err := c.Query(t.Context(), "queries.message.inbox.inbox", nil)
		if err == nil && strings.Count(string(answer), `"here"`) != 1 {
			err = fmt.Errorf("%s", answer)
		}
		return err
	})
	if r := awaitReminder(t, c, "far", func(remindState) bool { return true }); r.Status != "active" || r.Fired != 0 || r.NextAt.Year() != 2500 {
		t.Errorf("beyond the range of timers: %+v", r)
	}
	_, err := c.Get(t.Context(), "gone", "k", nil)
	harness.WantRefusal(t, "the command of a reminder that was cancelled", err, 404, "state.not_found")
}

// awaitReminder waits until a reminder is as it should be.
func awaitReminder(t *testing.T, c *harness.Client, id string, is func(remindState) bool) (r remindState) {
	t.Helper()
	harness.Eventually(t, "reminder "+id, func() error {
		answer, err := c.Query(t.Context(), "queries.reminder."+id+".get", nil)
		r = remindState{}
		if err == nil {
			err = json.Unmarshal(answer, &r)
		}
		if err == nil && !is(r) {
			err = fmt.Errorf("%s", answer)
		}
		return err
	})
	return r
}

// once checks that the agent named like a reminder was written once for each firing.
func once(t *testing.T, c *harness.Client, id string) {
	t.Helper()
	r := awaitReminder(t, c, id, func(r remindState) bool { return r.Pending == nil })
	if got := c.MustGet(t, id, "n", M{"consistency": "strong"}); int(got.Version) != r.Fired || string(got.Value) != fmt.Sprint(r.Fired) {
		t.Errorf("%s after %d firings", got, r.Fired)
	}
}

// remindersInTheViews: KV, SQL, lists, time travel, a rebuild and an import have the same.
func remindersInTheViews(t *testing.T, e *harness.Engine, c *harness.Client) {
	now := awaitReminder(t, c, "door-cli", func(remindState) bool { return true })
	kv, err := c.JS.KeyValue(t.Context(), "REMINDER_STATE")
	harness.Must(t, err)
	row, err := kv.Get(t.Context(), "door-cli")
	if err != nil || !strings.Contains(string(row.Value()), `"status":"done"`) || !strings.Contains(string(row.Value()), `"reminder_id":"door-cli"`) {
		t.Errorf("in KV: %v, %v", row, err)
	}
	db := c.SQL(t)
	var subject, outcome, next string
	var fired int
	harness.Must(t, db.QueryRow(t.Context(), `SELECT subject, fired, outcome FROM agents.reminders WHERE reminder_id = 'door-cli'`).Scan(&subject, &fired, &outcome))
	harness.Must(t, db.QueryRow(t.Context(), `SELECT next_at::text FROM agents.reminders WHERE reminder_id = 'far'`).Scan(&next))
	if subject != "agent.door-cli.add" || fired != 2 || outcome != "accepted" || !strings.HasPrefix(next, "2500-01-01 00:00:00") {
		t.Errorf("in SQL: %s fired %d, %s; far at %s", subject, fired, outcome, next)
	}
	var list struct {
		Reminders []struct {
			ID string `json:"reminder_id"`
		} `json:"reminders"`
		Cursor string `json:"cursor"`
	}
	var ids []string
	for body := (M{"agent_id": "doors", "status": "done", "limit": 4}); ; body["cursor"] = list.Cursor {
		answer, err := c.Query(t.Context(), "queries.reminders.list", body)
		list.Cursor = ""
		harness.Must(t, err)
		harness.Must(t, json.Unmarshal(answer, &list))
		for _, r := range list.Reminders {
			ids = append(ids, r.ID)
		}
		if list.Cursor == "" {
			break
		}
	}
	if !slices.Equal(ids, []string{"door-batch-false", "door-batch-true", "door-cli", "door-enqueue", "door-outbox", "door-request"}) {
		t.Errorf("listed %q", ids)
	}
	var past struct {
		Versions []struct {
			Type     string `json:"type"`
			Revision uint64 `json:"revision"`
		} `json:"versions"`
	}
	answer, err := c.Query(t.Context(), "queries.reminder.door-cli.history", nil)
	harness.Must(t, err)
	harness.Must(t, json.Unmarshal(answer, &past))
	var types []string
	for _, v := range past.Versions {
		types = append(types, strings.TrimPrefix(v.Type, "reminder."))
	}
	if !slices.Equal(types, []string{"done", "fired", "due", "fired", "due", "set"}) || int(now.Version) != len(types) {
		t.Fatalf("history %q", types)
	}
	answer, err = c.Query(t.Context(), "queries.reminder.door-cli.get", M{"at_revision": past.Versions[3].Revision})
	if then := (remindState{}); err != nil || json.Unmarshal(answer, &then) != nil || then.Fired != 1 || then.Status != "active" {
		t.Errorf("in the past: %s, %v", answer, err)
	}
	if r := e.Run("diff", "reminder.door-cli", "--from", fmt.Sprint(past.Versions[3].Revision)); r.Code != 0 || !strings.Contains(r.Stdout, "/fired") {
		t.Errorf("diff: %+v", r)
	}
	if r := e.Run("rebuild", "all"); r.Code != 0 {
		t.Errorf("rebuild: %+v", r)
	}
	e.Verify()
	if text := e.Metrics(t.Context()); !strings.Contains(text, `tidemark_reminders_fired_total{outcome="accepted"}`) || !strings.Contains(text, "tidemark_reminder_late_seconds") {
		t.Error("the metrics lack the firings")
	}

	c.MustDo(t, "reminder.moves.set", M{"at": time.Now().Add(5 * time.Second).UTC().Format(time.RFC3339), "command": M{"subject": "agent.moved.set", "body": M{"key": "k", "value": 1}}})
	file := filepath.Join(t.TempDir(), "export.jsonl")
	if r := harness.Run(t, "archive", "export", file, "--data", e.Data); r.Code != 0 {
		t.Fatalf("export: %+v", r)
	}
	e.Stop()
	data := harness.TempDir(t)
	if r := harness.Run(t, "archive", "import", "--data", data, file); r.Code != 0 {
		t.Fatalf("import: %+v", r)
	}
	other := harness.Start(t, harness.Config{Data: data})
	c = other.Client(t)
	awaitReminder(t, c, "moves", func(r remindState) bool { return r.Status == "done" && r.Fired == 1 })
	if got := c.MustGet(t, "moved", "k", nil); got.Version != 1 {
		t.Errorf("%s", got)
	}
	other.Verify()
}

type remindState struct {
	Status  string    `json:"status"`
	NextAt  time.Time `json:"next_at"`
	Fired   int       `json:"fired"`
	Missed  int       `json:"missed_count"`
	Version uint64    `json:"version"`
	Token   string    `json:"token"`
	Last    struct {
		Due     time.Time `json:"due"`
		At      time.Time `json:"at"`
		Outcome string    `json:"outcome"`
		Error   struct {
			Code string `json:"code"`
		} `json:"error"`
	} `json:"last"`
	Pending *struct{} `json:"pending"`
}
