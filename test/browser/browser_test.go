// Package browser tests the web console in a real browser: headless Chromium, driven by its
// debugger. The pages are those of a real engine with data in every state.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type M = harness.M

// patience bounds what a page may take on a busy machine.
const patience = 60 * time.Second

// chromium starts one browser for a test.
func chromium(t *testing.T) context.Context {
	t.Helper()
	program, err := exec.Command("../../scripts/chromium.sh", "path").Output()
	harness.Mustf(t, err, "find Chromium (make chromium installs it)")
	profile := harness.TempDir(t)
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(strings.TrimSpace(string(program))), chromedp.UserDataDir(filepath.Join(profile, "profile")),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("headless", "new"), chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("font-render-hinting", "none"),
		chromedp.Env("HOME="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile, "DBUS_SESSION_BUS_ADDRESS=/dev/null"),
	)
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), opts...)
	ctx, closeBrowser := chromedp.NewContext(ctx)
	harness.Mustf(t, chromedp.Do(ctx), "start Chromium")
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // it waits for the process
		closeBrowser()
		cancel()
	})
	return ctx
}

// tab is a page of the browser, with what went wrong on it.
type tab struct {
	context.Context
	t    *testing.T
	base string

	mu       sync.Mutex
	problems []string
	expected []string // parts of problems that the test provokes
}

// open opens a tab. At its end nothing may have gone wrong on it: no error in the console, no
// violation of the Content-Security-Policy, no failed request.
func open(t *testing.T, browser context.Context, base string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	b := &tab{Context: ctx, t: t, base: base}
	harness.Must(t, chromedp.Listen(ctx, b.hear))
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	b.size(1280, 900)
	t.Cleanup(func() {
		cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			if !slices.ContainsFunc(b.expected, func(part string) bool { return strings.Contains(p, part) }) {
				t.Errorf("in the browser: %s", p)
			}
		}
	})
	return b
}

func (b *tab) hear(ev any) {
	problem := ""
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		problem = fmt.Sprintf("exception: %+v", ev.ExceptionDetails)
	case *runtime.EventConsoleAPICalled:
		if ev.Type == "error" || ev.Type == "warning" {
			problem = fmt.Sprintf("console %s: %s", ev.Type, arguments(ev.Args))
		}
	case *log.EventEntryAdded:
		if ev.Entry.Level == "error" || ev.Entry.Level == "warning" {
			problem = fmt.Sprintf("log %s: %s %s", ev.Entry.Source, ev.Entry.Text, ev.Entry.URL)
		}
	case *network.EventLoadingFailed:
		if !ev.Canceled && ev.ErrorText != "net::ERR_ABORTED" { // a page that is left ends its stream
			problem = fmt.Sprintf("request failed: %s %s", ev.Type, ev.ErrorText)
		}
	case *network.EventResponseReceived:
		if ev.Response.Status >= 400 {
			problem = fmt.Sprintf("status %d: %s", ev.Response.Status, ev.Response.URL)
		}
	}
	if problem != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, problem)
	}
}

func arguments(all []*runtime.RemoteObject) string {
	var texts []string
	for _, a := range all {
		texts = append(texts, string(a.Value)+a.Description)
	}
	return strings.Join(texts, " ")
}

// expect allows problems with this text.
func (b *tab) expect(parts ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, parts...)
}

// do runs actions within patience.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("in the browser: %v", err)
	}
}

// call sends a command of the debugger's protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, patience)
	defer cancel()
	r, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("in the browser: %v", err)
	}
	return r
}

// eval is the value of an expression.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("in the browser: %s: %v", expression, err)
	}
	return v
}

// size makes the window as large as a desk's or a phone's.
func (b *tab) size(width, height int64) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
}

// mode chooses light or dark.
func (b *tab) mode(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// visit loads a page and waits for its content.
func (b *tab) visit(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base+path), chromedp.WaitReady(chromedp.CSS("#page > *")))
}

// text is what an element shows; empty if there is none.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`(document.querySelector(%q)||{innerText:""}).innerText`, selector))
}

// shows waits until an element shows a text, on a page whose scripts have run: what follows
// may be a key or a click that they answer.
func (b *tab) shows(selector, want string) {
	b.t.Helper()
	harness.Eventually(b.t, selector+" shows "+want, func() error {
		if got := b.text(selector); !strings.Contains(got, want) {
			return fmt.Errorf("%s shows %.300q, want %q", selector, got, want)
		}
		if state := eval[string](b, `document.readyState`); state != "complete" {
			return fmt.Errorf("the page is %s", state)
		}
		return nil
	})
}

// click clicks on an element.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS(selector)), chromedp.Click(chromedp.CSS(selector)))
}

// shot writes a picture of what the window shows.
func (b *tab) shot(file string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	harness.Must(b.t, err)
	harness.Must(b.t, os.MkdirAll(filepath.Dir(file), 0o755))
	harness.Must(b.t, os.WriteFile(file, picture, 0o644))
}

// axe finds violations of the rules of accessibility on the page as it is. The script comes
// through the debugger into a world of its own: the page's policy stays as strict as it is.
func (b *tab) axe(script string) {
	b.t.Helper()
	var found []struct {
		ID, Impact, Help string
		Nodes            []struct{ HTML, FailureSummary string }
	}
	tree := call(b, page.GetFrameTree, cdp.Empty{})
	world := call(b, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: tree.FrameTree.Frame.ID, WorldName: "axe"}).ExecutionContextID
	yes := true
	for _, code := range []string{script + ";0", `axe.run(document).then(r => JSON.stringify(r.violations))`} {
		got := call(b, runtime.Evaluate, runtime.EvaluateParams{Expression: code, ContextID: world, AwaitPromise: &yes, ReturnByValue: &yes})
		if got.ExceptionDetails != nil {
			b.t.Fatalf("axe: %+v", got.ExceptionDetails)
		}
		var text string
		if json.Unmarshal(got.Result.Value, &text) == nil {
			harness.Must(b.t, json.Unmarshal([]byte(text), &found))
		}
	}
	for _, v := range found {
		for _, n := range v.Nodes[:min(len(v.Nodes), 3)] {
			b.t.Errorf("axe: %s (%s): %s\n%.300s\n%s", v.ID, v.Impact, v.Help, n.HTML, n.FailureSummary)
		}
	}
}

// axeScript is axe-core.
func axeScript(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.NodeModules(t, ".", "package.json"), "node_modules", "axe-core", "axe.min.js"))
	harness.Must(t, err)
	return string(text)
}

// key presses a key.
func (b *tab) key(key string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(key))
}
