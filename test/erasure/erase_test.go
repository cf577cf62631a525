package erasure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

type M = harness.M

// marker is in every value of the agents that are erased.
const marker = "MARKERofTheErased"

// newKey writes a master key.
func newKey(t *testing.T, name, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	harness.Must(t, os.WriteFile(path, []byte(secret+"\n"), 0o600))
	return path
}

// holding are the files below a directory that hold a text.
func holding(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	harness.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go
		}
		if body, err := os.ReadFile(path); err == nil && bytes.Contains(body, []byte(text)) {
			files = append(files, path)
		}
		return nil
	}))
	return files
}

// rowsHolding counts the rows of each table that hold a text.
func rowsHolding(t *testing.T, db *pgx.Conn, text string) map[string]int {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT tablename::text FROM pg_tables WHERE schemaname = 'agents'`)
	harness.Must(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	harness.Must(t, err)
	found := map[string]int{}
	for _, table := range tables {
		var n int
		err := db.QueryRow(t.Context(), `SELECT count(*) FROM agents.`+pgx.Identifier{table}.Sanitize()+` AS t WHERE t::text LIKE $1`, "%"+text+"%").Scan(&n)
		if gone := new(pgconn.PgError); errors.As(err, &gone) && gone.Code == "42P01" {
			continue // a view's tables take the place of those before
		}
		harness.Must(t, err)
		if n > 0 {
			found[table] = n
		}
	}
	return found
}

type erasure struct {
	harness.Receipt
	Erasure struct {
		Entries, Config, Tasks, Sessions, Reminders int
		DataKeys                                    int `json:"data_keys"`
		Complete                                    bool
	}
}

// erase erases an agent and waits until its receipt says that it is complete.
func erase(t *testing.T, c *harness.Client, agent, id string) (r erasure) {
	t.Helper()
	harness.Eventually(t, "the erasure of "+agent+" is complete", func() error {
		msg := nats.NewMsg("commands.agent." + agent + ".erase")
		msg.Header.Set("Nats-Msg-Id", id)
		msg.Data = []byte(`{"reason":"article 17"}`)
		body, err := c.Ask(t.Context(), msg)
		if err == nil {
			err = json.Unmarshal(body, &r)
		}
		if err == nil && !r.Erasure.Complete {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
	return r
}

func TestErase(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key", strings.Repeat("5a", 32))
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", key}})
	c := e.Client(t)
	value := func(n int) string { return fmt.Sprintf("%s %d", marker, n) }

	// Views that hold values, in a table and a bucket.
	text := func(path string) M { return M{"v": M{"path": path, "type": "text"}} }
	c.MustDo(t, "view.kept.define", M{"from": "state", "columns": text("/value"), "into": []string{"sql", "kv"}})
	c.MustDo(t, "view.grouped.define", M{"from": "state", "columns": text("/value"), "group": M{"by": []string{"v"}, "count": true}, "into": []string{"sql", "kv"}})
	c.MustDo(t, "view.sent.define", M{"from": "message", "columns": text("/body"), "into": []string{"sql", "kv"}})

	// Every way for a value to get in.
	c.MustSet(t, "a1", "mood", value(1), nil)
	c.MustSet(t, "a1", "mood", value(2), nil)
	if _, err := c.Set(t.Context(), "a1", "mood", value(3), M{"expected_version": 1}); err == nil {
		t.Error("no conflict")
	}
	c.MustSet(t, "a1", "large", strings.Repeat(value(4), 1000), nil)
	c.MustDo(t, "config.a1.set", M{"key": "c", "value": value(5)})
	c.MustDo(t, "message.a1.direct", M{"to": "friend", "body": value(6)})
	c.MustDo(t, "message.friend.direct", M{"to": "a1", "body": "the sender's"})
	c.MustDo(t, "message.a1.notify", M{"type": "news", "body": value(8)})
	c.MustDo(t, "agent.a1.heartbeat", M{"status": value(9)})
	for _, id := range []string{"t-new", "t-done", "t-failed", "t-cancelled", "t-second"} {
		c.MustDo(t, "task."+id+".create", M{"kind": "k", "agent_id": "a1", "payload": M{"p": value(20)}})
	}
	for _, id := range []string{"t-done", "t-failed"} {
		c.MustDo(t, "task."+id+".start", M{"agent_id": "a1"})
		c.MustDo(t, "task."+id+".progress", M{"percent": 50, "note": value(21)})
	}
	c.MustDo(t, "task.t-done.complete", M{"result": value(22)})
	c.MustDo(t, "task.t-failed.fail", M{"reason": "slug", "detail": value(23)})
	c.MustDo(t, "task.t-cancelled.cancel", M{"reason": value(24)})
	c.MustDo(t, "session.s1.open", M{"owner": "a1"})
	c.MustDo(t, "session.s1.put", M{"key": "k", "value": value(25)})
	c.MustDo(t, "session.s1.touch", M{})
	c.MustDo(t, "reminder.r1.set", M{"at": "2126-01-01T00:00:00Z", "command": M{"subject": "agent.a1.set", "body": M{"key": "reminded", "value": value(26)}}})
	c.MustDo(t, "reminder.r2.set", M{"every_ms": 1000, "count": 1, "agent_id": "a1", "command": M{"subject": "task.t-none.fail", "body": M{"reason": "r", "detail": value(27)}}})
	c.MustDo(t, "reminder.r-other.set", M{"at": "2126-01-01T00:00:00Z", "command": M{"subject": "agent.other.set", "body": M{"key": "k", "value": "stays"}}})
	c.MustDo(t, "task.t-other.create", M{"kind": "k", "agent_id": "other", "payload": "stays"})
	c.MustDo(t, "session.s-other.open", M{"owner": "other"})
	c.MustDo(t, "session.s-other.put", M{"key": "k", "value": "stays"})
	db := c.SQL(t)
	for id, subject := range map[string]string{"o1": "agent.a1.set", "o2": "commands.agent.a1.set", "o3": "commands.batch", "o4": "session.s1.put", "o5": "commands.task.t-new.progress", "o6": "reminder.r1.set", "o7": "reminder.r-bad.set"} {
		body := `{"key":"outbox","value":"` + value(10) + `"}`
		if subject == "commands.batch" {
			body = `{"atomic":true,"commands":[{"subject":"agent.a1.set","body":` + body + `}]}`
		}
		if subject == "reminder.r-bad.set" {
			body = `{"command":{"subject":"agent.a1.set","body":` + body + `}}`
		}
		harness.Exec(t, db, `INSERT INTO agents.outbox (command_id, subject, body) VALUES ($1, $2, $3)`, id, subject, body)
	}
	nc, err := nats.Connect(e.NATSURL)
	harness.Must(t, err)
	defer nc.Close()
	harness.Must(t, nc.Publish("enqueue.agent.a1.set", []byte(`{"key":"queued","value":"`+value(11)+`"}`)))
	for _, subject := range []string{"agent.a1.set", "config.a1.set", "task.t-new.progress", "session.s1.put", "message.a1.direct", "reminder.r1.set"} { // dead letters
		harness.Must(t, nc.Publish("enqueue."+subject, []byte(`{"key":"queued","valu":"`+value(12)+`"}`)))
	}
	harness.Must(t, nc.Publish("enqueue.batch", []byte(`{"atomic":false,"commands":[{"subject":"agent.a1.set","body":{"key":"k","value":"`+value(12)+`"}}]}`)))
	if js, err := jetstream.New(nc, harness.Patient); err != nil {
		t.Error(err)
	} else if _, err := js.Stream(t.Context(), "TIDEMARK_KEYS"); err == nil {
		t.Error("a client opens the key store")
	} else {
		for name := range js.StreamNames(t.Context()).Name() {
			if name == "TIDEMARK_KEYS" {
				t.Error("a client sees the key store")
			}
		}
	}
	for _, key := range []string{"outbox", "queued"} {
		harness.Eventually(t, key+" is stored", func() error { _, err := c.Get(t.Context(), "a1", key, M{"consistency": "hot"}); return err })
	}
	c.MustSet(t, "a2", "k", value(13), nil)
	c.MustSet(t, "other", "k", "stays", nil)
	harness.Eventually(t, "SQL holds the values", func() bool {
		found := rowsHolding(t, db, marker)
		var done int
		harness.Must(t, db.QueryRow(t.Context(), `SELECT count(*) FROM agents.outbox WHERE done_at IS NOT NULL`).Scan(&done))
		return found["state"] == 5 && found["config"] == 1 && found["conflicts"] == 1 && found["messages"] >= 2 &&
			found["tasks"] == 5 && found["sessions"] == 1 && found["reminders"] == 2 && found["outbox"] == 7 && done == 7 &&
			found["view_kept"] == 5 && found["view_grouped"] == 5 && found["view_sent"] >= 2
	})
	harness.Eventually(t, "the reminder r2 has fired", func() bool {
		answer, err := c.Query(t.Context(), "queries.reminder.r2.get", nil)
		return err == nil && bytes.Contains(answer, []byte(`"status":"done"`))
	})
	if found := rowsHolding(t, db, marker); found["events"] > 0 {
		t.Errorf("the archive holds %v in the clear", found)
	}

	// The master key is rotated while the engine serves.
	if r := harness.Run(t, "auth", "rotate-master", "--data", e.Data); r.Code != 0 {
		t.Fatalf("rotate-master: %+v", r)
	}
	if text, err := os.ReadFile(key); err != nil || bytes.Contains(text, []byte("5a5a5a5a")) || bytes.Count(text, []byte("\n")) != 1 {
		t.Errorf("the old master key is left, or both are gone: %v", err)
	}
	c.MustSet(t, "after-rotation", "k", "v", nil)

	before := filepath.Join(t.TempDir(), "export.jsonl")
	if r := harness.Run(t, "archive", "export", before, "--data", e.Data); r.Code != 0 {
		t.Errorf("export: %+v", r)
	}
	if files := holding(t, filepath.Dir(before), marker); len(files) > 0 {
		t.Error("an export from before the erasure holds a value")
	}
	published := func(what string, erased int) {
		answer, err := c.Query(t.Context(), "queries.events.read", M{"limit": 1000, "wait_ms": 0})
		if n := bytes.Count(answer, []byte(`"data":{"erased":true`)); err != nil || (n > 0) != (erased > 0) || bytes.Contains(answer, []byte(marker)) != (erased == 0) || bytes.Contains(answer, []byte(`"sealed"`)) {
			t.Errorf("the events %s, %d of them erased: %.500s, %v", what, n, answer, err)
		}
	}
	published("before the erasure", 0)
	if r := erase(t, c, "a1", "erase-1"); r.Erasure.Entries != 4 || r.Erasure.Config != 1 || r.Erasure.Tasks != 5 || r.Erasure.Sessions != 1 || r.Erasure.Reminders != 2 || r.Erasure.DataKeys != 1 {
		t.Errorf("receipt %+v", r)
	}
	if r := erase(t, c, "a2", "erase-2"); r.Erasure.Entries != 1 {
		t.Errorf("receipt %+v", r)
	}
	nowhere(t, e, db)
	published("after it", 1)
	if answer, err := c.Query(t.Context(), "queries.view.sent.list", nil); err != nil || bytes.Count(answer, []byte(`"key"`)) != 1 || !bytes.Contains(answer, []byte(`"the sender's"`)) {
		t.Errorf("the view of messages: %s, %v", answer, err)
	}

	// What is left: versions and digests.
	_, err = c.Get(t.Context(), "a1", "mood", nil)
	harness.WantRefusal(t, "get", err, 404, "state.not_found")
	_, err = c.Get(t.Context(), "a1", "mood", M{"at_revision": 1})
	harness.WantRefusal(t, "get as of a revision", err, 404, "state.not_found")
	answer, err := c.Query(t.Context(), "queries.agent.a1.history", M{"key": "mood", "losers": true})
	harness.Must(t, err)
	if n := bytes.Count(answer, []byte(`"erased":true`)); n != 3 || bytes.Contains(answer, []byte(`"value"`)) {
		t.Errorf("the history has %d erased versions: %s", n, answer)
	}
	for query, want := range map[string]string{
		"task.t-new.get": `"status":"cancelled"`, "task.t-done.get": `"status":"completed"`, "task.t-failed.get": `"reason":"slug"`,
		"task.t-done.history": `"erased":true`, "session.s1.get": `"status":"closed"`, "session.s1.history": `"erased":true`,
		"task.t-other.get": `"payload":"stays"`, "session.s-other.get": `{"k":"stays"}`, "tasks.list": `"t-done"`,
		"reminder.r1.get": `"status":"cancelled"`, "reminder.r1.history": `"erased":true`, "reminder.r2.history": `"task.not_found"`, "reminder.r-other.get": `"value":"stays"`, "reminders.list": `"r2"`,
	} {
		if answer, err := c.Query(t.Context(), "queries."+query, nil); err != nil || !bytes.Contains(answer, []byte(want)) || bytes.Contains(answer, []byte(marker)) {
			t.Errorf("%s: %s, %v", query, answer, err)
		}
	}
	if r := harness.Run(t, "dlq", "list", "--json", "--data", e.Data); r.Code != 0 || regexp.MustCompile(`\ba1\b`).MatchString(r.Stdout) || strings.Contains(r.Stdout, marker) {
		t.Errorf("dead letters: %+v", r)
	}
	if r := e.Run("verify", "--json"); r.Code != 0 || !regexp.MustCompile(`"erased":\{"a1":\d+,"a2":\d+\}`).MatchString(r.Stdout) {
		t.Errorf("verify: %+v", r)
	}
	if r := e.Run("rebuild", "all"); r.Code != 0 {
		t.Errorf("rebuild: %+v", r)
	}
	if r := c.MustSet(t, "a1", "mood", "a new life", nil); r.Version != 4 {
		t.Errorf("the version restarts: %+v", r)
	}
	e.Verify()
	nowhere(t, e, db)
	again := erase(t, c, "a1", "erase-1")
	if !again.Replayed || again.Erasure.Entries != 4 {
		t.Errorf("repeated: %+v", again)
	}
	if got := c.MustGet(t, "a1", "mood", nil); string(got.Value) != `"a new life"` {
		t.Errorf("a repeated erasure erases what came later: %s", got.Value)
	}

	// A start with another master key, or without one, fails clearly.
	e.Stop()
	if files := holding(t, e.Data, marker); len(files) > 0 {
		t.Errorf("after the stop %v hold a value", files)
	}
	if log := e.Refuses("--master-key", newKey(t, "wrong", strings.Repeat("77", 32))); !strings.Contains(log, "the master key is not the one of this data set") {
		t.Errorf("another master key: %s", log)
	}
	if log := e.Refuses("--encryption", "off"); !strings.Contains(log, "is encrypted: start with --encryption on") {
		t.Errorf("without encryption: %s", log)
	}
	e.Restart()
	if got := c.MustGet(t, "other", "k", nil); string(got.Value) != `"stays"` {
		t.Errorf("another agent: %s", got.Value)
	}
	e.Verify()
}

// nowhere checks that no file, row, export or replay holds a value.
func nowhere(t *testing.T, e *harness.Engine, db *pgx.Conn) {
	t.Helper()
	if found := rowsHolding(t, db, marker); len(found) > 0 {
		t.Errorf("SQL holds values in %v", found)
	}
	var messages int
	if harness.Must(t, db.QueryRow(t.Context(), `SELECT count(*) FROM agents.messages`).Scan(&messages)); messages > 0 {
		t.Errorf("SQL holds %d messages by or to the agent", messages)
	}
	if files := holding(t, e.Data, marker); len(files) > 0 {
		t.Errorf("files hold values: %v", files)
	}
	if strings.Contains(e.Log(), marker) {
		t.Error("the log holds a value")
	}
	file := filepath.Join(t.TempDir(), "export.jsonl")
	if r := harness.Run(t, "archive", "export", file, "--data", e.Data); r.Code != 0 {
		t.Errorf("export: %+v", r)
	}
	if files := holding(t, filepath.Dir(file), marker); len(files) > 0 {
		t.Error("the export holds a value")
	}
	if r := e.Run("replay"); r.Code != 0 || strings.Contains(r.Stdout, marker) {
		t.Errorf("replay shows a value, or fails (%d): %s", r.Code, r.Stderr)
	}
}

// An erasure that a power cut interrupts is finished by the next start. A journal that
// is restored without its key store stays unreadable.
func TestEraseInterrupted(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--encryption", "on", "--master-key", newKey(t, "key", strings.Repeat("5a", 32)), "--postgres", "off"}})
	c := e.Client(t)
	for i := range 20 {
		c.MustSet(t, "a1", fmt.Sprint("k", i), marker, nil)
	}
	c.MustSet(t, "a2", "k", "kept until the keys are lost", nil)
	js := e.OperatorJetStream(t)
	nc, err := nats.Connect(e.NATSURL)
	harness.Must(t, err)
	defer nc.Close()
	msg := nats.NewMsg("commands.agent.a1.erase")
	msg.Header.Set("Nats-Msg-Id", "interrupted")
	msg.Reply, msg.Data = "_INBOX.none", []byte(`{"reason":"article 17"}`)
	harness.Must(t, nc.PublishMsg(msg))
	harness.Must(t, nc.Flush())
	harness.Eventually(t, "the erasure begins", func() error {
		s, err := js.Stream(t.Context(), "TIDEMARK_KEYS")
		if err == nil {
			_, err = s.GetLastMsgForSubject(t.Context(), "$TIDEMARK.keys.pending.a1")
		}
		return err
	})
	e.Kill()
	e.Restart()
	harness.Eventually(t, "the next start finishes the erasure", func() error {
		_, err := c.Get(t.Context(), "a1", "k19", M{"consistency": "strong"})
		if r := harness.Refused(err); r == nil || r.Status != 404 {
			return fmt.Errorf("get: %v", err)
		}
		return nil
	})
	if r := erase(t, c, "a1", "interrupted"); r.Erasure.Entries != 20 || r.Erasure.DataKeys != 1 {
		t.Errorf("receipt %+v", r)
	}
	e.Verify()
	e.Stop()

	store := filepath.Join(filepath.Dir(harness.EventsDir(t, e.Data)), "TIDEMARK_KEYS")
	harness.Must(t, os.Rename(store, filepath.Join(t.TempDir(), "keys")))
	if log := e.Refuses(); !strings.Contains(log, "restore its stream TIDEMARK_KEYS") {
		t.Errorf("without its key store: %s", log)
	}
	e.Launch("--accept-journal")
	e.Await()
	_, err = c.Get(t.Context(), "a2", "k", M{"consistency": "strong"})
	harness.WantRefusal(t, "a value whose key is lost", err, 404, "state.not_found")
}

// Events from before encryption stay readable, and an agent that has some cannot be
// erased.
func TestUpgradeOfPlaintext(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	c := e.Client(t)
	c.MustSet(t, "old", "k", "from before", nil)
	_, err := c.Command(t.Context(), "commands.agent.old.erase", "", M{"reason": "x"})
	harness.WantRefusal(t, "without encryption", err, 422, "erase.needs_encryption")
	e.Stop()
	e.Launch("--encryption", "on") // it makes a master key
	e.Await()
	if got := c.MustGet(t, "old", "k", M{"consistency": "strong"}); string(got.Value) != `"from before"` {
		t.Errorf("an event from before: %s", got.Value)
	}
	c.MustSet(t, "old", "k", "encrypted", nil)
	_, err = c.Command(t.Context(), "commands.agent.old.erase", "", M{"reason": "x"})
	harness.WantRefusal(t, "events from before", err, 422, "erase.plaintext_history")
	c.MustSet(t, "new", "k", marker, nil)
	erase(t, c, "new", "erase-new")
	_, err = c.Get(t.Context(), "new", "k", nil)
	harness.WantRefusal(t, "get", err, 404, "state.not_found")
	if got := c.MustGet(t, "old", "k", nil); string(got.Value) != `"encrypted"` {
		t.Errorf("a refused erasure: %s", got.Value)
	}
	e.Verify()
	e.Stop()
	if r := harness.Run(t, "auth", "add", "alice", "--role", "agent", "--out", filepath.Join(t.TempDir(), "alice.creds"), "--data", e.Data); r.Code != 0 {
		t.Errorf("auth add beside a stopped engine: %s%s", r.Stdout, r.Stderr)
	}
	key := filepath.Join(e.Data, "master.key")
	harness.Must(t, os.Rename(key, key+".away"))
	if log := e.Refuses("--encryption", "on"); !strings.Contains(log, "restore it") {
		t.Errorf("without the master key: %s", log)
	}
	harness.Must(t, os.Rename(key+".away", key))
	if log := e.Refuses(); !strings.Contains(log, "is encrypted") {
		t.Errorf("without encryption: %s", log)
	}
}
