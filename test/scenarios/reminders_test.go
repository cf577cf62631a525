package scenarios

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestManyReminders: of many reminders that come due while two engines are killed, one by one and
// both at once, each due time has its effect once or is missed as declared. In a long run
// clocks are changed meanwhile.
func TestManyReminders(t *testing.T) {
	t.Parallel()
	zones := filepath.Join(t.TempDir(), "zones")
	url, sql := external(t), postgres(t)
	change := time.Now().Add(100 * time.Second).Truncate(time.Minute).Add(time.Minute)
	writeZone(t, zones, "Spring", change, 0, 3600)
	writeZone(t, zones, "Autumn", change, 3600, 0)
	var engines [2]*harness.Engine
	for i := range engines {
		engines[i] = harness.Start(t, harness.Config{Args: []string{"--nats", url, "--postgres", sql}, SQL: sql, Env: []string{"ZONEINFO=" + zones}})
		engines[i].NATSURL = url
	}
	c := engines[0].Client(t)
	ids := setMany(t, c)
	if harness.Long() {
		setOverChange(t, c, change)
	}
	down := func(both bool, pause time.Duration) {
		for i, e := range engines {
			if both || i == 0 {
				e.Kill()
			}
		}
		until := time.Now().Add(pause)
		harness.Eventually(t, "due times pass", func() bool { return time.Now().After(until) })
		var up sync.WaitGroup
		for i, e := range engines {
			if both || i == 0 {
				up.Go(e.Restart)
			}
		}
		up.Wait()
		engines[0], engines[1] = engines[1], engines[0]
	}
	for range harness.Rounds(1, 4) {
		down(false, 0)
		down(true, 2*time.Second)
	}
	c = engines[0].Client(t)
	var fired, missed int
	var late time.Duration
	for _, id := range ids {
		r := firedAsDeclared(t, c, id)
		fired, missed, late = fired+r.Fired, missed+r.Missed, max(late, r.Last.At.Sub(r.Last.Due))
	}
	t.Logf("%d reminders fired %d times and missed %d; the last of one was at most %s late", len(ids), fired, missed, late)
	if harness.Long() {
		overChange(t, c, change, down)
	}
	for _, args := range [][]string{{"verify"}, {"rebuild", "durable"}, {"verify"}} {
		if r := engines[0].Run(args[0], append(args[1:], "--postgres", sql)...); r.Code != 0 {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// setMany sets reminders of each kind that all come due soon, and returns their ids.
func setMany(t *testing.T, c *harness.Client) (ids []string) {
	n, within := harness.Rounds(60, 500), harness.Rounds(6, 60)
	var items []M
	begin := time.Now().Add(5 * time.Second)
	for i := range n {
		id := fmt.Sprint("many-", i)
		body := M{"missed": []string{"one", "all", "skip"}[i%3], "command": M{"subject": "agent." + id + ".add", "body": M{"key": "n", "delta": 1}}}
		end := begin.Add(time.Duration(i) * time.Duration(within) * time.Second / time.Duration(n)).UTC()
		if i%4 == 0 {
			body["every_ms"], body["until"] = 1000+i%7*250, end.Format(time.RFC3339Nano)
		} else {
			body["at"] = end.Format(time.RFC3339Nano)
		}
		ids, items = append(ids, id), append(items, item("", "reminder."+id+".set", body))
	}
	for from := 0; from < n; from += 250 {
		_, err := send(t, c, true, items[from:min(from+250, n)]...)
		harness.Must(t, err)
	}
	return ids
}

type manyReminder struct {
	remindState
	At      time.Time `json:"at"`
	Every   int64     `json:"every_ms"`
	Until   time.Time `json:"until"`
	SetAt   time.Time `json:"set_at"`
	OnMiss  string    `json:"missed"`
	Pending *struct{} `json:"pending"`
}

// firedAsDeclared waits for the end of a reminder and compares its firings with its due times and
// with what the commands have done.
func firedAsDeclared(t *testing.T, c *harness.Client, id string) (r manyReminder) {
	t.Helper()
	harness.Within(t, 3*time.Minute, "reminder "+id, func() error {
		answer, err := c.Query(t.Context(), "queries.reminder."+id+".get", nil)
		r = manyReminder{}
		if err == nil {
			err = json.Unmarshal(answer, &r)
		}
		if err == nil && (r.Status != "done" || r.Pending != nil) {
			err = fmt.Errorf("%s", answer)
		}
		return err
	})
	due := 1
	if r.Every > 0 {
		due = int(r.Until.Sub(r.SetAt) / (time.Duration(r.Every) * time.Millisecond))
	}
	if r.Fired+r.Missed != due || r.OnMiss == "all" && r.Missed > 0 {
		t.Errorf("%s: %d due times since %s, %+v", id, due, r.SetAt, r)
	}
	got := harness.Entry{}
	if r.Fired > 0 {
		got = c.MustGet(t, id, "n", M{"consistency": "strong"})
	}
	if int(got.Version) != r.Fired || r.Fired > 0 && string(got.Value) != fmt.Sprint(r.Fired) {
		t.Errorf("%s fired %d times, its command took effect as %s", id, r.Fired, got)
	}
	return r
}

// setOverChange sets reminders by the clocks of both zones, one of which skips an hour at
// change, while the other shows an hour again.
func setOverChange(t *testing.T, c *harness.Client, change time.Time) {
	for _, zone := range []string{"Spring", "Autumn"} {
		at := change.Add(30 * time.Minute) // skipped in Spring
		if zone == "Autumn" {
			at = change.Add(time.Minute) // shown again: the first time is long past
		}
		for id, body := range map[string]M{
			zone + "-once": {"cron": fmt.Sprintf("%d %d * * *", at.UTC().Minute(), at.UTC().Hour())},
			zone + "-each": {"cron": "* * * * *", "missed": "all", "until": change.Add(150 * time.Second).UTC().Format(time.RFC3339)},
		} {
			body["timezone"], body["command"] = "Test/"+zone, M{"subject": "agent." + id + ".add", "body": M{"key": "n", "delta": 1}}
			c.MustDo(t, "reminder."+id+".set", body)
		}
	}
}

// overChange lets the clocks be changed while no engine runs.
func overChange(t *testing.T, c *harness.Client, change time.Time, down func(bool, time.Duration)) {
	harness.Within(t, 5*time.Minute, "the change of the clocks", func() bool { return time.Until(change) < 2*time.Second })
	down(true, time.Until(change)+time.Second)
	read := func(id string) (r manyReminder) {
		t.Helper()
		answer, err := c.Query(t.Context(), "queries.reminder."+id+".get", nil)
		harness.Must(t, err)
		harness.Must(t, json.Unmarshal(answer, &r))
		return r
	}
	harness.Within(t, 4*time.Minute, "the reminders after the change", func() error {
		once, each := read("Spring-once"), read("Spring-each")
		if once.Fired != 1 || each.Status != "done" || each.Pending != nil {
			return fmt.Errorf("%+v and %+v", once, each)
		}
		return nil
	})
	if r := read("Spring-once"); !r.Last.Due.Equal(change) || !r.NextAt.Equal(change.Add(24*time.Hour-30*time.Minute)) {
		t.Errorf("a time that is skipped at %s: %+v", change, r)
	}
	if r := read("Autumn-once"); r.Fired != 0 || !r.NextAt.Equal(change.Add(24*time.Hour+time.Minute)) {
		t.Errorf("a time that is shown again after %s: %+v", change, r)
	}
	for id, last := range map[string]time.Time{"Spring-each": change.Add(2 * time.Minute), "Autumn-each": change.Add(-time.Minute)} {
		r := read(id)
		want := int(last.Sub(r.SetAt.Truncate(time.Minute)) / time.Minute)
		if got := c.MustGet(t, id, "n", nil); r.Fired != want || !r.Last.Due.Equal(last) || string(got.Value) != fmt.Sprint(want) {
			t.Errorf("%s: want %d firings, the last at %s; %+v, %s", id, want, last, r, got)
		}
	}
}

// writeZone writes a time zone Test/<name> whose offset changes at one moment, as RFC 9636 says.
func writeZone(t *testing.T, dir, name string, at time.Time, before, after int32) {
	harness.Must(t, os.MkdirAll(filepath.Join(dir, "Test"), 0o755))
	var b bytes.Buffer
	b.WriteString("TZif" + strings.Repeat("\x00", 16))
	for _, field := range []any{
		[6]uint32{0, 0, 0, 1, 2, 8}, int32(at.Unix()), uint8(1), before, uint8(0), uint8(0), after, uint8(0), uint8(4), []byte("BEF\x00AFT\x00"),
	} {
		harness.Must(t, binary.Write(&b, binary.BigEndian, field))
	}
	harness.Must(t, os.WriteFile(filepath.Join(dir, "Test", name), b.Bytes(), 0o644))
}
