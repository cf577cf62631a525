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
	dir := harness.NodePackage(t, filepath.Join("..", "..", "clients", "typescript"))
	e := harness.Start(t, harness.Config{})
	run(t, dir, e, "npx", "tsc", "-p", ".")
	run(t, dir, e, "node", "--test", "test/")

	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	harness.Must(t, err)
	for i, want := range []string{
		"user: Where is my order?\nassistant: On its way.\n1 { city: 'Lisbon' }\n",
		"{ sum: 6 }\n",
	} {
		program := regexp.MustCompile("(?s)```js\n(.*?)```").FindAllStringSubmatch(string(text), -1)[i][1]
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
