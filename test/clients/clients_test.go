// Package clients tests the SDKs in other languages on an engine, with their own tools.
package clients

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestTypeScript builds the SDK, runs its tests, and the programs of its README, which are
// short.
func TestTypeScript(t *testing.T) {
	dir := harness.NodePackage(t, filepath.Join("..", "..", "clients", "typescript"), nil)
	e := harness.Start(t, harness.Config{})
	schemas, err := filepath.Abs(filepath.Join("..", "..", "docs", "reference", "schemas"))
	harness.Must(t, err)
	run(t, dir, e, "node", "scripts/types.mjs", "--check", schemas)
	run(t, dir, e, "npx", "tsc", "-p", ".")
	run(t, dir, e, "node", "--test", "test/")

	programs(t, dir, e,
		"user: Where is my order?\nassistant: On its way.\n1 { city: 'Lisbon' }\n",
		"{ sum: 6 }\n")
}

// TestLangGraph builds the checkpointer and the store and runs their tests. The long run also
// runs graphs, the public validation suite and the program of the README, whose dependencies
// take minutes to install.
func TestLangGraph(t *testing.T) {
	clients := filepath.Join("..", "..", "clients")
	sdk := harness.NodePackage(t, filepath.Join(clients, "typescript"), nil)
	var without []string
	if !harness.Long() {
		without = []string{"@langchain/langgraph", "@langchain/langgraph-checkpoint-validation", "vitest"}
	}
	dir := harness.NodePackage(t, filepath.Join(clients, "langgraph"), map[string]string{"@tidemark/client": sdk}, without...)
	e := harness.Start(t, harness.Config{})
	run(t, sdk, e, "npx", "tsc", "-p", ".")
	run(t, dir, e, "npx", "tsc", "-p", ".")
	run(t, dir, e, "node", "--test", "test/saver.test.mjs", "test/store.test.mjs")
	if harness.Long() {
		out := run(t, dir, e, "node", "--test", "test/graph.test.mjs")
		t.Log(regexp.MustCompile(`naive \d+ bytes.*`).FindString(out))
		validate(t, dir, e)
		programs(t, dir, e, "[ 'hello', '1 so far', 'again', '3 so far' ]\n")
	}
}

// validate runs the public validation suite.
func validate(t *testing.T, dir string, e *harness.Engine) {
	t.Helper()
	out := run(t, dir, e, "npx", "vitest", "run", "--globals", "--dir", "validation")
	passed := regexp.MustCompile(`Tests +(\d+) passed[^|\n]*\n`).FindString(out)
	if passed == "" || strings.Contains(out, "failed") {
		t.Errorf("the validation suite prints\n%s", out)
	}
	t.Log("the validation suite:", strings.TrimSpace(passed))
}

// programs runs the programs of a README, which are short, and compares what they print.
func programs(t *testing.T, dir string, e *harness.Engine, prints ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	harness.Must(t, err)
	found := regexp.MustCompile("(?s)```js\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(found) != len(prints) {
		t.Fatalf("the README has %d programs, want %d", len(found), len(prints))
	}
	for i, want := range prints {
		program := found[i][1]
		if lines := strings.Count(program, "\n"); lines > 25 {
			t.Errorf("program %d of the README has %d lines", i, lines)
		}
		file := filepath.Join(dir, "readme.mjs")
		harness.Must(t, os.WriteFile(file, []byte(program), 0o644))
		if got := run(t, dir, e, "node", file); got != want {
			t.Errorf("program %d of the README prints %q, want %q", i, got, want)
		}
	}
}

// run runs a command in a package's directory and returns what it prints.
func run(t *testing.T, dir string, e *harness.Engine, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NATS_URL="+e.NATSURL, "NO_COLOR=1", "FORCE_COLOR=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
