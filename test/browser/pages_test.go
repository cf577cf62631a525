package browser

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// pages are the pages of the console, with ids of the data.
var pages = []string{"/", "/agents", "/agents/writer", "/agents/hostile", "/agents/" + longID, "/agents/" + longID + "?key=" + longKey, "/agents/" + longID + "?revision=90", "/agents/" + longID + "?tab=timeline", "/tasks/" + longID, "/agents/planner?revision=5", "/agents/writer?tab=timeline", "/agents/planner?tab=tasks",
	"/agents/planner?tab=messages", "/agents/planner?tab=config", "/events/3", "/tasks", "/tasks?status=failed", "/tasks/sum-1", "/tasks/hostile", "/tasks/mail-2", "/conflicts", "/dlq", "/views", "/topology", "/sql", "/help"}

// pictures are the pages that the documentation shows, by path. make browser makes them again.
var pictures = map[string]string{"/": "overview", "/agents": "agents", "/agents/planner?revision=5": "agent", "/tasks": "tasks", "/dlq": "dead-letters", "/conflicts": "conflicts", "/views": "views", "/topology": "topology"}

// TestConsole is one engine and one browser for everything that a person does in the console.
func TestConsole(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--audit-rate", "0"}})
	c := fill(t, e)
	browser := chromium(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *tab, *harness.Engine, *harness.Client)
	}{
		{"pages", everyPage}, {"tasks", taskActions}, {"dead letters", letterActions}, {"views", viewActions},
		{"sql", sqlPage}, {"live", live}, {"keys", keys}, {"an engine that comes back", comesBack},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, open(t, browser, e.HTTPURL), e, c) })
	}
}

// everyPage: each page loads without a fault and without a violation of the rules of
// accessibility, in light and dark, on a desk and on a phone. Values of agents do not run.
func everyPage(t *testing.T, b *tab, e *harness.Engine, _ *harness.Client) {
	script := axeScript(t)
	for _, path := range pages {
		b.mode("light")
		b.size(1280, 900)
		b.visit(path)
		if !harness.Long() { // one look a page, and whether it fits on a phone
			b.check(path, script)
			b.size(320, 844)
			b.visit(path)
			b.fits(path + " on a phone")
			continue
		}
		for _, mode := range []string{"light", "dark"} {
			b.mode(mode)
			for _, width := range []int64{1280, 390, 320} {
				b.size(width, 900)
				b.visit(path)
				b.check(fmt.Sprintf("%s %s %d", path, mode, width), script)
				if dir := os.Getenv("TIDEMARK_TEST_SHOTS"); dir != "" { // for a look at all of them
					b.shot(fmt.Sprintf("%s/%s-%s-%d.png", dir, strings.NewReplacer("/", "_", "?", "-", "=", "-").Replace(path), mode, width))
				}
				if name, shown := pictures[path]; shown && width == 1280 && (mode == "light" || path == "/tasks" || path == "/") {
					b.shot(fmt.Sprintf("../../docs/images/console-%s-%s.png", name, mode))
				}
			}
		}
	}
}

// check looks at the page as it is.
func (b *tab) check(what, script string) {
	b.t.Helper()
	state := eval[struct {
		Pwned bool   `json:"pwned"`
		Alert string `json:"alert"`
	}](b, `({pwned: "pwned" in window, alert: (document.querySelector("#page [role=alert]")||{innerText:""}).innerText})`)
	if state.Pwned || state.Alert != "" {
		b.t.Errorf("%s: a value ran: %t; error shown: %q", what, state.Pwned, state.Alert)
	}
	b.fits(what)
	b.axe(script)
	if b.t.Failed() {
		b.t.Logf("the page was %s", what)
	}
}

// fits: nothing is wider than the window, also where that is a phone's, which would show all of
// the page smaller; no field stands out of its card; no id and no reason stands in a column of a few letters; and long values do not make the
// page large.
func (b *tab) fits(what string) {
	b.t.Helper()
	page := eval[struct {
		Wide   int `json:"wide"`
		Narrow int `json:"narrow"`
		Bytes  int `json:"bytes"`
		Out    int `json:"out"`
		Tall   int `json:"tall"`
	}](b, `({wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
		narrow: [...document.querySelectorAll("#page .id")].filter(id => id.innerText.length > 40 && id.offsetWidth < 100).length,
		out: [...document.querySelectorAll("#page .card :is(input, select, textarea, button)")].filter(e => e.offsetParent && !e.closest("table, details.menu")
			&& e.getBoundingClientRect().right > e.closest(".card").getBoundingClientRect().right + 1).length,
		tall: [...document.querySelectorAll("#page td:is(.reason, .why)")].filter(td => { const text = document.createRange(); text.selectNodeContents(td);
			return innerWidth < 960 && td.innerText.length < 200 && text.getBoundingClientRect().height > 110 }).length,
		bytes: document.querySelector("#page").innerHTML.length})`)
	if page.Wide > 1 || page.Narrow > 0 || page.Out > 0 || page.Tall > 0 || page.Bytes > 512<<10 {
		b.t.Errorf("%s: %d pixels wider than the window; long ids in narrow columns: %d; fields outside of their cards: %d; reasons in tall rows: %d; %d characters", what, page.Wide, page.Narrow, page.Out, page.Tall, page.Bytes)
	}
}
