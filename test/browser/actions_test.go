package browser

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// confirm carries out the action whose dialog is open, and returns what the dialog showed
// before and after.
func (b *tab) confirm() (asked, done string) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS(`dialog[open] button.primary, dialog[open] [role=alert]`)))
	if asked = b.text("dialog[open]"); b.text("dialog[open] [role=alert]") != "" {
		b.t.Fatalf("the action is not offered: %s", asked)
	}
	b.click("dialog[open] button.primary")
	b.do(chromedp.WaitVisible(chromedp.CSS(`dialog[open] [role=status], dialog[open] [role=alert]`)))
	done = b.text("dialog[open]")
	if !strings.Contains(done, "Done.") {
		b.t.Errorf("the action ended with %s", done)
	}
	return asked, done
}

// submit sends the form of an action with a field of this value.
func (b *tab) submit(action, field, value string) {
	b.t.Helper()
	b.click(fmt.Sprintf(`form[action="/actions/%s"]:has([name=%q][value=%q]) button`, action, field, value))
}

func status(t *testing.T, c *harness.Client, task string) (s struct {
	Status, Reason string
	Agent          string `json:"agent_id"`
	Attempts       int
}) {
	t.Helper()
	answer, err := c.Query(t.Context(), "queries.task."+task+".get", nil)
	harness.Must(t, err)
	harness.Must(t, json.Unmarshal(answer, &s))
	return s
}

func taskActions(t *testing.T, b *tab, e *harness.Engine, c *harness.Client) {
	b.visit("/tasks/crawl-1")
	b.do(chromedp.SendKeys(chromedp.CSS(`form[action="/actions/task.cancel"] [name=reason]`), "not needed"))
	b.submit("task.cancel", "task", "crawl-1")
	b.do(chromedp.WaitVisible(chromedp.CSS(`dialog[open] button.primary`)))
	if s := status(t, c, "crawl-1"); s.Status != "created" {
		t.Errorf("before it was confirmed the task is %+v", s)
	}
	asked, _ := b.confirm()
	if !strings.Contains(asked, "engine send") || !strings.Contains(asked, "commands.task.crawl-1.cancel") || !strings.Contains(asked, `{"reason":"not needed"}`) {
		t.Errorf("the dialog shows no command line: %s", asked)
	}
	if s := status(t, c, "crawl-1"); s.Status != "cancelled" || s.Reason != "not needed" {
		t.Errorf("the task is %+v", s)
	}
	b.click("dialog[open] [data-close]")
	b.shows("#page .lede", "cancelled")

	b.shows("#page", "task.cancelled") // its history

	b.visit("/tasks/mail-1")
	b.submit("task.retry", "task", "mail-1")
	b.confirm()
	if s := status(t, c, "mail-1"); s.Status != "started" || s.Agent != "writer" || s.Attempts != 2 {
		t.Errorf("the task is %+v", s)
	}
}

func letterActions(t *testing.T, b *tab, e *harness.Engine, c *harness.Client) {
	b.visit("/dlq")
	subjects := map[string]string{} // of dead letters, by id
	ids := func() (all []string) {
		for _, line := range lines(harness.Run(t, "dlq", "list", "--json", "--data", e.Data).Stdout) {
			var l struct {
				Seq         int
				ID, Subject string
			}
			harness.Must(t, json.Unmarshal([]byte(line), &l))
			if l.ID == "" {
				l.ID = fmt.Sprint(l.Seq)
			}
			subjects[l.ID] = l.Subject
			all = append(all, l.ID)
		}
		return all
	}
	before := ids()
	b.submit("dlq.drop", "which", "1")
	asked, _ := b.confirm()
	if !strings.Contains(asked, "1 dead letter of 1 aggregate") || !strings.Contains(asked, "engine dlq drop") {
		t.Errorf("the dry run says %s", asked)
	}
	b.click("dialog[open] [data-close]")
	if after := ids(); len(after) != len(before)-1 || after[0] == "1" {
		t.Errorf("dead letters %v, before %v", after, before)
	}
	harness.Eventually(t, "the row is gone without a reload", func() bool { return b.text("#letter-1") == "" })

	// The same command fails again: it comes back as a new dead letter.
	b.submit("dlq.retry", "which", "2")
	_, done := b.confirm()
	if !strings.Contains(done, "enqueued again") {
		t.Errorf("the retry shows %s", done)
	}
	b.click("dialog[open] [data-close]")
	harness.Eventually(t, "the command is a dead letter again", func() bool {
		all := ids()
		again := slices.ContainsFunc(all, func(id string) bool { return id != "2" && subjects[id] == subjects["2"] })
		return !slices.Contains(all, "2") && again && strings.Contains(b.text("#page"), subjects["2"])
	})

	held := "durable:agent.future.state.plan"
	b.submit("dlq.retry", "which", held)
	asked, done = b.confirm()
	if !strings.Contains(asked, "1 event of 1 aggregate") || !strings.Contains(done, "still quarantined") {
		t.Errorf("the retry of a quarantined aggregate: %s, then %s", asked, done)
	}
	b.click("dialog[open] [data-close]")
	b.submit("dlq.drop", "which", held)
	b.confirm()
	b.click("dialog[open] [data-close]")
	if all := strings.Join(ids(), " "); strings.Contains(all, held) {
		t.Errorf("it is still in quarantine: %s", all)
	}
}

func viewActions(t *testing.T, b *tab, e *harness.Engine, c *harness.Client) {
	b.visit("/views")
	b.submit("view.rebuild", "view", "hot")
	asked, _ := b.confirm()
	if !strings.Contains(asked, "Events to fold") || !strings.Contains(asked, "engine rebuild") {
		t.Errorf("the plan of a rebuild: %s", asked)
	}
	b.click("dialog[open] [data-close]")
	b.shows(".job", "rows differed")
	b.shows(".job .badge", "completed")

	b.click(`form[action="/actions/verify"] button`)
	b.confirm()
	b.click("dialog[open] [data-close]")
	b.shows(".job", "chains checked")
	// The event of a later build is a difference that is known.
	b.shows(".job .badge", "different")
}

func sqlPage(t *testing.T, b *tab, e *harness.Engine, c *harness.Client) {
	run := func(statement string) {
		t.Helper()
		b.visit("/sql?q=" + url.QueryEscape(statement))
	}
	b.visit("/sql")
	b.click(".ready a")
	b.shows("table.result", "planner")
	run(`SELECT payload->>'note' FROM tasks WHERE task_id = 'hostile'`)
	b.shows("table.result", "<script>")
	b.expect("status 422", "422 (Unprocessable Entity)")
	run(`SELECT '` + hostile + `' FROM no_such_table_x`)
	b.shows("#page [role=alert]", "does not exist")
	run(`DELETE FROM state`)
	b.shows("#page [role=alert]", "read-only")
	if eval[bool](b, `"pwned" in window`) {
		t.Error("a value of a result ran")
	}
}

// live: what another client does appears on the page as it is.
func live(t *testing.T, b *tab, e *harness.Engine, c *harness.Client) {
	b.visit("/tasks")
	b.shows("#live", "live")
	eval[bool](b, `window.same = true`)
	c.MustDo(t, "task.zz-live.create", M{"kind": "live"})
	b.shows("#task-zz-live", "live")
	c.MustDo(t, "task.zz-live.start", M{"agent_id": "planner"})
	b.shows(`section[aria-labelledby="status-started"]`, "zz-live")
	if !eval[bool](b, `window.same === true`) {
		t.Error("the page was loaded again")
	}
}

// comesBack: a page that is open while the engine stops follows the one that starts next, also
// where it has met something that answers with an error meanwhile.
func comesBack(t *testing.T, b *tab, e *harness.Engine, _ *harness.Client) {
	b.expect("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "status 503", "responded with a status of 503")
	b.visit("/agents")
	b.shows("#live", "live")
	eval[bool](b, `window.same = true`)
	e.Stop()
	// An engine that is stopping may have answered the page once more, with an error.
	state(t, b, "the page says that it is not live", func(state string) bool { return state != "on" })
	var other http.Server
	other.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "starting", http.StatusServiceUnavailable) })
	l, err := net.Listen("tcp", strings.TrimPrefix(e.HTTPURL, "http://"))
	harness.Must(t, err)
	go func() { _ = other.Serve(l) }() // until Close
	b.shows("#live", "not live")
	harness.Must(t, other.Close())
	e.Restart()
	e.Client(t).MustSet(t, "after-restart", "k", 1, nil)
	state(t, b, "the page is live again", func(state string) bool { return state == "on" })
	b.shows("#page", "after-restart")
	if !eval[bool](b, `window.same === true`) {
		t.Error("the page was loaded again")
	}
}

// state waits until the sign that a page is live has a state.
func state(t *testing.T, b *tab, what string, is func(state string) bool) {
	t.Helper()
	harness.Eventually(t, what, func() error {
		if state := eval[string](b, `document.querySelector("#live").dataset.state`); !is(state) {
			return fmt.Errorf("it is %q", state)
		}
		return nil
	})
}

func keys(t *testing.T, b *tab, e *harness.Engine, c *harness.Client) {
	b.visit("/tasks")
	b.key("j")
	focused := func() string { return eval[string](b, `document.activeElement.textContent`) }
	first := focused()
	b.key("j")
	second := focused()
	b.key("k")
	third := focused()
	if first == "" || first == second || third != first {
		t.Errorf("j and k lead to %q, %q, %q", first, second, third)
	}
	b.key("\r")
	b.shows("h1", "Task "+first)
	b.key("/")
	if id := eval[string](b, `document.activeElement.id`); id != "search" {
		t.Errorf("/ leads to %q", id)
	}
	b.visit("/tasks")
	b.key("?")
	b.do(chromedp.WaitVisible(chromedp.CSS("#keys[open]")))
}
