package browser

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// pages are the pages of the console, with ids of the data.
var pages = []string{"/", "/agents", "/agents/writer", "/agents/hostile", "/agents/planner?revision=5", "/agents/writer?tab=timeline", "/agents/planner?tab=tasks",
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
		{"sql", sqlPage}, {"live", live}, {"keys", keys},
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
		if !harness.Long() { // one look a page
			b.check(path, script)
			continue
		}
		for _, mode := range []string{"light", "dark"} {
			b.mode(mode)
			for _, width := range []int64{1280, 390} {
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
		Wide  bool   `json:"wide"`
		Alert string `json:"alert"`
	}](b, `({pwned: "pwned" in window, wide: document.documentElement.scrollWidth > innerWidth + 1, alert: (document.querySelector("#page [role=alert]")||{innerText:""}).innerText})`)
	if state.Pwned || state.Wide || state.Alert != "" {
		b.t.Errorf("%s: a value ran: %t; wider than the window: %t; error shown: %q", what, state.Pwned, state.Wide, state.Alert)
	}
	b.axe(script)
	if b.t.Failed() {
		b.t.Logf("the page was %s", what)
	}
}
