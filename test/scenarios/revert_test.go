package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestRevert: an entry and an agent return to an earlier state at every door, with encryption; a
// large agent under writers and a kill; also from a trimmed journal.
func TestRevert(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "master.key")
	harness.Must(t, os.WriteFile(key, []byte(strings.Repeat("6b", 32)+"\n"), 0o600))
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", key}})
	c := e.Client(t)
	e.RunPage(t, "docs/howto/revert.md")
	revertAtEveryDoor(t, e, c)
	revertLarge(t, e, c)
	e.Verify()
	if r := e.Run("rebuild", "all"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if r := harness.Run(t, "archive", "trim", "--data", e.Data, "--before", "0s", "--yes"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	e.Verify()
	revertTrimmed(t, c)
	revertErased(t, c)
}

// entriesOf are the values of the keys with a prefix, as they are sent.
func entriesOf(t *testing.T, c *harness.Client, agent, prefix string, more M) map[string]string {
	t.Helper()
	got, body := map[string]string{}, M{"prefix": prefix, "limit": 1000}
	maps.Copy(body, more)
	for {
		text, err := c.Query(t.Context(), "queries.agent."+agent+".entries", body)
		harness.Must(t, err)
		var page struct {
			Entries []harness.Entry
			Cursor  string
		}
		harness.Must(t, json.Unmarshal(text, &page))
		for _, entry := range page.Entries {
			got[entry.Key] = string(entry.Value)
		}
		if body["cursor"] = page.Cursor; page.Cursor == "" {
			return got
		}
	}
}

func revertAtEveryDoor(t *testing.T, e *harness.Engine, c *harness.Client) {
	for i := range 6 {
		c.MustDo(t, "agent.doors.set", M{"key": "k", "value": i})
	}
	value := func(want string) {
		t.Helper()
		if got := c.MustGet(t, "doors", "k", M{"consistency": "strong"}); string(got.Value) != want {
			t.Errorf("it is %s, want %s", got.Value, want)
		}
	}
	if r := c.MustDo(t, "agent.doors.revert", M{"key": "k", "to_version": 1}); r.Version != 7 || r.Key != "k" {
		t.Errorf("%+v", r)
	}
	value("0")
	if got, err := send(t, c, true, item("", "agent.doors.set", M{"key": "other", "value": 1}), item("", "agent.doors.revert", M{"key": "k", "to_version": 2})); err != nil || got.Results[1].Receipt.Version != 8 {
		t.Errorf("an atomic batch: %+v, %v", got, err)
	}
	value("1")
	if _, err := send(t, c, false, item("", "agent.doors.revert", M{"key": "k", "to_version": 3})); err != nil {
		t.Error(err)
	}
	value("2")
	_, err := c.JS.PublishMsg(t.Context(), &nats.Msg{Subject: "enqueue.agent.doors.revert", Header: nats.Header{nats.MsgIdHdr: []string{"queued"}}, Data: []byte(`{"key":"k","to_version":4}`)})
	harness.Must(t, err)
	harness.Eventually(t, "the outcome", func() error { _, err := c.Query(t.Context(), "queries.command.queued.get", nil); return err })
	value("3")
	sql := c.SQL(t)
	_, err = sql.Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body) VALUES ('row', 'agent.doors.revert', '{"to_revision":0}')`)
	harness.Must(t, err)
	harness.Eventually(t, "the outcome", func() error {
		var keys string
		err := sql.QueryRow(t.Context(), `SELECT coalesce(outcome->>'keys', outcome::text, '') FROM agents.outbox WHERE command_id = 'row'`).Scan(&keys)
		if err == nil && keys != "2" {
			err = fmt.Errorf("it is %q", keys)
		}
		return err
	})
	_, err = c.Get(t.Context(), "doors", "k", M{"consistency": "strong"})
	harness.WantRefusal(t, "a deleted entry", err, 404, "state.not_found")
	if r := e.Run("revert", "agent.doors", "--key", "k", "--to-version", "5", "--json"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	value("4")
	if r := e.Run("revert", "agent.doors", "--key", "k", "--to-version", "99"); r.Code != 1 || !strings.Contains(r.Stderr, "state.version_not_found") {
		t.Errorf("%+v", r)
	}
	// A revert activates an agent, like another write.
	c.MustDo(t, "agent.doors.retire", M{})
	c.MustDo(t, "agent.doors.revert", M{"to_revision": 0})
	harness.Eventually(t, "the phase", func() error {
		text, err := c.Query(t.Context(), "queries.agent.doors.lifecycle", nil)
		if err == nil && !strings.Contains(string(text), `"active"`) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
}

// revertLarge reverts an agent of many keys to a time, while clients write other keys of it and
// of others. The engine is killed when the revert has begun.
func revertLarge(t *testing.T, e *harness.Engine, c *harness.Client) {
	keys := harness.Rounds(2000, 5000)
	write := func(round int) {
		for from := 0; from < keys; from += 500 {
			var items []M
			for k := from; k < from+500; k++ {
				if round == 2 && k%10 == 0 {
					items = append(items, item("", "agent.big.delete", M{"key": fmt.Sprint("k.", k)}))
					continue
				}
				items = append(items, item("", "agent.big.set", M{"key": fmt.Sprint("k.", k), "value": json.RawMessage(fmt.Sprintf(`{"round":%d.50,"k":%d}`, round, k))}))
			}
			_, err := send(t, c, true, items...)
			harness.Must(t, err)
		}
	}
	write(1)
	then := time.Now().UTC().Format(time.RFC3339Nano)
	write(2)
	c.MustDo(t, "agent.big.set", M{"key": "k.new", "value": 1})
	want := entriesOf(t, c, "big", "k.", M{"at_time": then})
	if len(want) != keys {
		t.Fatalf("%d entries at %s", len(want), then)
	}

	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for i, agent := range []string{"big", "beside"} {
		own := e.Client(t)
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_, _ = own.Set(ctx, agent, fmt.Sprint("w.", i, n%5), n, nil) // fails while the engine is down
			}
		})
	}
	begun, err := c.SubscribeSync("agents.lifecycle.big.revert_started")
	harness.Must(t, err)
	id, body := harness.NewID(), M{"to_time": then, "reason": "a bad run"}
	first := make(chan error, 1)
	go func() {
		_, err := e.Client(t).Command(ctx, "commands.agent.big.revert", id, body)
		first <- err
	}()
	if _, err := begun.NextMsgWithContext(ctx); err != nil {
		t.Error(err)
	}
	e.Kill()
	e.Restart()
	var answer struct {
		Keys     int
		Outcome  string
		Revision uint64
	}
	harness.Eventually(t, "the revert", func() error {
		msg := nats.NewMsg("commands.agent.big.revert")
		msg.Header.Set(nats.MsgIdHdr, id)
		msg.Data, _ = json.Marshal(body)
		text, err := c.Ask(ctx, msg)
		if err == nil {
			err = json.Unmarshal(text, &answer)
		}
		return err
	})
	stop()
	writers.Wait()
	t.Logf("the killed engine answered %v; then %+v", harness.Receive(t, "an answer", first), answer)
	if answer.Keys < keys+1 || answer.Outcome != "accepted" {
		t.Errorf("%+v", answer)
	}
	if got := entriesOf(t, c, "big", "k.", M{"at_revision": answer.Revision}); !maps.Equal(got, want) {
		t.Errorf("%d entries at the receipt's revision, %d at %s, or others", len(got), len(want), then)
	}
	if got := entriesOf(t, c, "big", "k.", nil); !maps.Equal(got, want) {
		t.Errorf("%d entries, %d at %s, or others", len(got), len(want), then)
	}
}

func revertTrimmed(t *testing.T, c *harness.Client) {
	r := c.MustDo(t, "agent.big.revert", M{"key": "k.7", "to_version": 2})
	got := c.MustGet(t, "big", "k.7", M{"consistency": "strong"})
	if string(got.Value) != `{"round":2.50,"k":7}` || r.Version != 4 {
		t.Errorf("%s, %+v", got, r)
	}
	events, cursor := 0, ""
	for {
		text, err := c.Query(t.Context(), "queries.agent.doors.timeline", M{"limit": 5, "cursor": cursor})
		harness.Must(t, err)
		var page struct {
			Events []json.RawMessage
			Cursor string
		}
		harness.Must(t, json.Unmarshal(text, &page))
		for _, event := range page.Events {
			if strings.Contains(string(event), `"type":"agent.state_`) {
				events++
			}
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if events != 15 { // 6 sets, 4 reverts, 1 set of another key, 2 deletions, 1 revert, 1 deletion
		t.Errorf("%d events of entries", events)
	}
}

func revertErased(t *testing.T, c *harness.Client) {
	before := c.MustDo(t, "agent.doors.set", M{"key": "k", "value": "secret"})
	c.MustDo(t, "agent.doors.erase", M{"reason": "asked for"})
	after := c.MustDo(t, "agent.doors.set", M{"key": "k", "value": "public"})
	for _, body := range []M{{"key": "k", "to_revision": before.Revision}, {"to_revision": before.Revision}} {
		_, err := c.Command(t.Context(), "commands.agent.doors.revert", "", body)
		harness.WantRefusal(t, "a revert to before an erasure", err, 422, "state.erased")
	}
	c.MustDo(t, "agent.doors.set", M{"key": "k", "value": "other"})
	c.MustDo(t, "agent.doors.revert", M{"to_revision": after.Revision})
	if got := c.MustGet(t, "doors", "k", M{"consistency": "strong"}); string(got.Value) != `"public"` {
		t.Errorf("%s", got)
	}
}
