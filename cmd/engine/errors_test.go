package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// full is an output that takes nothing, like a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestLostOutputIsAnError: a subcommand whose result is not written ends with 1 and says so,
// as text and as JSON. Scripts redirect it into files.
func TestLostOutputIsAnError(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if code, _, stderr := engine(t, "auth", "init", "--data", data); code != 0 {
		t.Fatal(stderr)
	}
	for _, args := range []string{
		"--help", "--version", "send --help", "version", "version --json", "completion bash",
		"auth list --data " + data, "auth print-config --data " + data,
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), cli.NewProgram("engine"), strings.Fields(args), full{}, &stderr)
		if _, message := errorOf(t, stderr.String()); code != 1 || !strings.Contains(message, "no space left") {
			t.Errorf("engine %s: exit code %d, %s", args, code, stderr.String())
		}
	}
}

// chain is how errors of Go's libraries look.
var chain = regexp.MustCompile(`nats: |dial tcp|lookup |nkeys: |\b(open|stat|mkdir) /|no such file or directory|context canceled|deadline exceeded|listen tcp|bind: |\(invalid|invalid \(|time: |: EOF`)

// TestErrorsAreSentences: an error says what is wrong and what to do, not how the program
// found it.
func TestErrorsAreSentences(t *testing.T) {
	t.Setenv("NATS_URL", "")
	dir := t.TempDir()
	nowhere, text := filepath.Join(dir, "none", "x"), filepath.Join(dir, "text")
	harness.Must(t, os.WriteFile(text, []byte("hello"), 0o600))
	closed := "nats://127.0.0.1:1"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	defer l.Close()
	taken := l.Addr().String()
	harness.Must(t, os.WriteFile(text+".yaml", []byte("durabilty: relaxed"), 0o600))
	for _, c := range []struct{ args, says string }{
		{"status --server " + closed, "no NATS server answers at " + closed + " (is the engine running?)"},
		{"status --server nats://no-such-host.invalid", "no-such-host.invalid is not known"},
		{"status --creds " + nowhere, "directory " + filepath.Dir(nowhere) + " does not exist"},
		{"status --creds " + text + "s", text + "s does not exist"},
		{"status --creds " + text, "holds neither credentials"},
		{"status --server tls://127.0.0.1:1 --tls-ca " + text, "holds no CA certificate"},
		{"status --server tls://127.0.0.1:1 --tls-cert " + text + " --tls-key " + text, "no client certificate"},
		{"status --alive --data " + nowhere, "no engine serves this data directory"},
		{"status --timeout 7", `"7" is not a time such as`},
		{"status --timeout soon", `"soon" is not a time such as`},
		{"archive import " + nowhere, "does not exist"},
		{"view add " + nowhere, "does not exist"},
		{"topology plan -f " + nowhere, "does not exist"},
		{"serve --config " + nowhere, "does not exist"},
		{"serve --data " + dir + " --tls-cert " + nowhere + " --tls-key " + nowhere, "does not exist"},
		{"serve --data " + dir + "/d --postgres off --nats-listen 127.0.0.1:0 --http " + taken, "--http: the address " + taken + " is in use by another program"},
		{"serve --data " + dir + "/d --postgres off --http 127.0.0.1:0 --nats-listen " + taken, "--nats-listen: the address " + taken + " is in use by another program"},
		{"serve --config " + text + ".yaml", "durabilty, did you mean durability?"},
		{"fork agent.a1 --as a.b", "--as: agent id"},
		{"mcp --agent a.b", "agent id"},
		{"query agent.a1", "is not a whole subject"},
		{"send agent.a1", "is not a whole subject"},
		{"send agnt.a1.set", "does not begin with commands. or enqueue., or an aggregate ('engine query' is for other requests), did you mean agent? ("},
		{"completion", "missing <shell> (bash, zsh, fish)"},
		{"dlq", "dlq needs one of list, retry, drop ("},
		{"auth", "auth needs one of init, add, list, "},
		{"auth", ", rotate-master"},
	} {
		_, _, stderr := onTerminal(t, "engine", append(strings.Fields(c.args), "--no-color")...)
		if !strings.Contains(stderr, c.says) || chain.MatchString(stderr) {
			t.Errorf("engine %s: %swant %q, without %q", c.args, stderr, c.says, chain.FindString(stderr))
		}
		_, _, stderr = engine(t, strings.Fields(c.args)...)
		if _, message := errorOf(t, stderr); !strings.Contains(message, c.says) || chain.MatchString(message) {
			t.Errorf("engine %s: %swant %q", c.args, stderr, c.says)
		}
	}
}
