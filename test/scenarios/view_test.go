package scenarios

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestViewDefinitions: a view is defined, changed and removed at every door of two engines,
// over a kill; every view and query shows the same definitions, also those of the past.
func TestViewDefinitions(t *testing.T) {
	t.Parallel()
	engines, sql := twoEngines(t, "")
	e := engines[0]
	c := e.Client(t)
	viewsAtEveryDoor(t, c)
	viewPast(t, c)
	e.Kill()
	if r, err := engines[1].Client(t).Command(t.Context(), "commands.view.doors.define", "", taskView()); err != nil || r.Outcome != "unchanged" {
		t.Errorf("the other engine: %+v, %v", r, err)
	}
	engines[1].Client(t).CaughtUp(t) // it has taken all views over
	e.Restart()
	viewProgram(t, e)
	for _, args := range [][]string{{"verify"}, {"rebuild", "durable"}, {"verify"}} {
		if r := e.Run(args[0], append(args[1:], "--postgres", sql)...); r.Code != 0 {
			t.Errorf("%s: %+v", args, r)
		}
	}
	var page struct {
		Views []viewRow `json:"views"`
	}
	answer, err := engines[1].Client(t).Query(t.Context(), "queries.views.list", M{"status": "defined"})
	harness.Must(t, err)
	harness.Must(t, json.Unmarshal(answer, &page))
	if len(page.Views) != 2 || page.Views[0].Name != "doors" || page.Views[1].Name != "past" {
		t.Errorf("the list: %s", answer)
	}
}

func stateView() M {
	return M{"from": "state", "agents": "nobody-*", "columns": M{"a": M{"path": "/value/a", "type": "text"}}}
}

func taskView() M {
	return M{"from": "task", "agents": "nobody-*", "columns": M{"b": M{"path": "/kind", "type": "text"}}}
}

func with(body M, name string, value any) M {
	body[name] = value
	return body
}

type viewRow struct {
	Name       string `json:"name"`
	Status     string `json:"status"`
	Version    uint64 `json:"version"`
	Definition struct {
		From string   `json:"from"`
		Into []string `json:"into"`
	} `json:"definition"`
}

func definitionOf(t *testing.T, c *harness.Client, name string, body any) (row viewRow) {
	t.Helper()
	answer, err := c.Query(t.Context(), "queries.view."+name+".definition", body)
	harness.Must(t, err)
	harness.Must(t, json.Unmarshal(answer, &row))
	return row
}

func viewsAtEveryDoor(t *testing.T, c *harness.Client) {
	got, err := send(t, c, true, item("", "view.doors.define", stateView()), item("", "view.doors.define", stateView()),
		item("", "view.doors.remove", M{}), item("", "view.doors.define", taskView()))
	if err != nil || got.Results[1].Receipt.Outcome != "unchanged" || got.Results[3].Receipt.Version != 3 {
		t.Errorf("an atomic batch: %+v, %v", got, err)
	}
	if got, err = send(t, c, false, item("", "view.doors.define", stateView()), item("", "view.doors.define", taskView())); err != nil ||
		got.Results[0].Error == nil || got.Results[0].Error.Code != "view.exists" || got.Results[1].Receipt == nil || got.Results[1].Receipt.Outcome != "unchanged" {
		t.Errorf("a batch: %+v, %v", got, err)
	}
	for version, code := range map[int]string{2: "require.failed", 3: ""} {
		body, err := json.Marshal(M{"atomic": true, "require": []M{{"subject": "view.doors", "version": version}},
			"commands": []M{item("", "agent.doors.set", M{"key": "k", "value": 1})}})
		harness.Must(t, err)
		_, err = c.Ask(t.Context(), &nats.Msg{Subject: "commands.batch", Data: body, Header: nats.Header{}})
		if no := harness.Refused(err); (no == nil) != (code == "") || no != nil && no.Code != code {
			t.Errorf("a batch that requires version %d: %v", version, err)
		}
	}
	queued := with(stateView(), "expected_version", 3)
	body, err := json.Marshal(queued)
	harness.Must(t, err)
	_, err = c.JS.PublishMsg(t.Context(), &nats.Msg{Subject: "enqueue.view.doors.define", Header: nats.Header{nats.MsgIdHdr: []string{"queued-view"}}, Data: body})
	harness.Must(t, err)
	harness.Eventually(t, "the outcome", func() error {
		text, err := c.Query(t.Context(), "queries.command.queued-view.get", nil)
		if err == nil && !strings.Contains(string(text), `"version":4`) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	db := c.SQL(t)
	body, err = json.Marshal(with(taskView(), "expected_version", 4))
	harness.Must(t, err)
	_, err = db.Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body) VALUES ('view-row', 'view.doors.define', $1)`, string(body))
	harness.Must(t, err)
	harness.Eventually(t, "the view of the outbox", func() error {
		var version uint64
		var status, source, column string
		err := db.QueryRow(t.Context(), `SELECT status, source, version, definition#>>'{columns,b,path}' FROM agents.views WHERE name = 'doors'`).Scan(&status, &source, &version, &column)
		if err == nil && (status != "defined" || source != "task" || version != 5 || column != "/kind") {
			err = fmt.Errorf("it is %s from %s, version %d, %q", status, source, version, column)
		}
		return err
	})
	refused(t, c, "commands.view.doors.define", stateView(), 409, "view.exists")
	refused(t, c, "commands.view.doors.define", with(stateView(), "expected_version", 4), 409, "state.conflict")
	refused(t, c, "commands.view.unknown.remove", M{}, 404, "view.not_found")
}

// viewPast asks for definitions of the past.
func viewPast(t *testing.T, c *harness.Client) {
	first := c.MustDo(t, "view.past.define", with(stateView(), "into", []string{"kv", "sql"}))
	removed := c.MustDo(t, "view.past.remove", M{})
	c.MustDo(t, "view.past.define", taskView())
	if row := definitionOf(t, c, "past", M{"at_revision": first.Revision}); row.Version != 1 || row.Definition.From != "state" || fmt.Sprint(row.Definition.Into) != "[sql kv]" {
		t.Errorf("then: %+v", row)
	}
	if row := definitionOf(t, c, "past", M{"at_revision": removed.Revision}); row.Status != "removed" || row.Version != 2 {
		t.Errorf("after its removal: %+v", row)
	}
	if row := definitionOf(t, c, "past", nil); row.Status != "defined" || row.Version != 3 || row.Definition.From != "task" {
		t.Errorf("now: %+v", row)
	}
	answer, err := c.Query(t.Context(), "queries.view.past.history", nil)
	if err != nil || strings.Count(string(answer), `"type":"view.`) != 3 {
		t.Errorf("the history: %s, %v", answer, err)
	}
	if _, err := c.Query(t.Context(), "queries.view.past.definition", M{"at_revision": first.Revision - 1}); harness.Refused(err) == nil {
		t.Errorf("before it: %v", err)
	}
}

// viewProgram defines, shows and removes views with the program.
func viewProgram(t *testing.T, e *harness.Engine) {
	file := filepath.Join(t.TempDir(), "v.yaml")
	run := func(args ...string) harness.Result {
		t.Helper()
		return harness.Run(t, append(append([]string{"view"}, args...), "--data", e.Data)...)
	}
	add := func(text string, args ...string) harness.Result {
		t.Helper()
		harness.Must(t, os.WriteFile(file, []byte(text), 0o600))
		return run(append([]string{"add", file}, args...)...)
	}
	const good = "name: by-program\nfrom: session\nagents: nobody\ncolumns:\n  open: {path: /status, type: text}\ngroup: {by: [open], count: true}\n"
	for _, c := range []struct {
		name string
		got  harness.Result
		code int
		say  string
	}{
		{"add", add(good), 0, `"version":1`},
		{"add again", add("{\n\t\"name\": \"by-program\", \"from\": \"session\", \"agents\": \"nobody\", \"columns\": {\"open\": {\"path\": \"/status\", \"type\": \"text\"}}, \"group\": {\"by\": [\"open\"], \"count\": true}}"), 0, `"outcome":"unchanged"`},
		{"another", add(strings.Replace(good, "session", "claim", 1)), 1, "view.exists"},
		{"another by version", add(strings.Replace(good, "session", "claim", 1), "--expected-version", "1"), 0, `"version":2`},
		{"dry run", add(strings.Replace(good, "by-program", "dry", 1), "--dry-run"), 0, `"name":"dry"`},
		{"no name", add("from: state\ncolumns: {a: {path: /a, type: text}}\n"), 1, `is missing`},
		{"bad", add(strings.Replace(good, "/status", "status", 1), "--json"), 1, `"place":"/columns/open/path"`},
		{"no YAML", add("name: [\n"), 1, "neither YAML nor JSON"},
		{"two documents", add(good + "---\n" + good), 1, "more than one"},
		{"a key twice", add(good + "from: task\n"), 1, "from"},
		{"empty", add(""), 1, "is empty"},
		{"no file", run("add", file+"x"), 1, "does not exist"},
		{"no argument", run("add"), 2, "file"},
		{"show", run("show", "by-program"), 0, "from: claim"},
		{"show json", run("show", "by-program", "--json"), 0, `"from":"claim"`},
		{"show a bad name", run("show", "By.Program"), 2, "dot"},
		{"show another", run("show", "ghost"), 1, "view.not_found"},
		{"list", run("list"), 0, "by-program  claim"},
		{"list json", run("list", "--json"), 0, `{"name":"by-program",`},
		{"diff", e.Run("diff", "view.by-program", "--from", "0"), 0, "view.defined"},
		{"remove", run("remove", "by-program"), 0, `"version":3`},
		{"remove again", run("remove", "by-program", "--json"), 0, `"unchanged"`},
		{"remove another", run("remove", "ghost"), 1, "view.not_found"},
		{"list all", run("list", "--all"), 0, "removed"},
	} {
		if c.got.Code != c.code || !strings.Contains(c.got.Stdout+c.got.Stderr, c.say) {
			t.Errorf("%s: %+v, want code %d and %q", c.name, c.got, c.code, c.say)
		}
	}
	shown := run("show", "past")
	if got := add(shown.Stdout); got.Code != 0 || !strings.Contains(got.Stdout, `"unchanged"`) {
		t.Errorf("what show prints, sent again: %+v\n%s", got, shown.Stdout)
	}
}
