package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

// engine runs the program in this process, in a pipe.
func engine(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), cli.NewProgram("engine"), args, &out, &errs)
	return code, out.String(), errs.String()
}

// onTerminal runs the program under a name on a terminal.
func onTerminal(t *testing.T, name string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), cli.NewProgram(name), args, cli.Terminal{Writer: &out}, cli.Terminal{Writer: &errs})
	return code, out.String(), errs.String()
}

// errorOf is the error that --json printed.
func errorOf(t *testing.T, stderr string) (kind, message string) {
	t.Helper()
	var body struct {
		Error struct{ Kind, Code, Message string }
	}
	if err := json.Unmarshal([]byte(stderr), &body); err != nil || body.Error.Kind == "" || body.Error.Code == "" || body.Error.Message == "" {
		t.Errorf("the error is not one JSON document: %q", stderr)
	}
	return body.Error.Kind, body.Error.Message
}

// subcommands are the client subcommands with arguments that are right.
var subcommands = map[string][]string{
	"status": nil, "top": nil, "send": {"commands.agent.a1.set", `{"key":"k","value":1}`}, "query": {"queries.agent.a1.get", `{"key":"k"}`},
	"watch": {"a1.>"}, "replay": nil, "diff": {"agent.a1", "--from", "0"}, "fork": {"agent.a1", "--as", "a2"}, "revert": {"agent.a1", "--to-revision", "1"},
	"verify": nil, "rebuild": {"hot"}, "archive export": {"x.gz"}, "archive trim": {"--before", "30d", "--plan"},
	"view list": nil, "view show": {"v"}, "view remove": {"v"}, "view add": {"x.yaml"},
	"auth list": nil, "auth show": {"alice"}, "auth revoke": {"alice"}, "auth grant": {"alice", "admin *"}, "auth log": nil,
	"dlq list": nil, "dlq retry": {"all"}, "dlq drop": {"7"}, "topology plan": nil, "topology apply": nil,
}

// TestExitCodes: 1 when no engine answers, 2 for a mistake in the arguments, with
// and without --json, for every client subcommand (contract, section 7).
func TestExitCodes(t *testing.T) {
	nowhere, file := filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "x.gz")
	t.Setenv("NATS_URL", "")
	for name, right := range subcommands {
		for i, arg := range right {
			switch arg {
			case "x.gz":
				right[i] = file
			case "x.yaml":
				right[i] = filepath.Join(t.TempDir(), "x.yaml")
				harness.Must(t, os.WriteFile(right[i], []byte("name: v\nfrom: state\ncolumns: {v: {path: /value, type: jsonb}}\n"), 0o600))
			}
		}
		with := func(more ...string) []string { return append(append(strings.Fields(name), more...), right...) }
		for what, c := range map[string]struct {
			args []string
			code int
			kind string
		}{
			"no data directory":    {with("--data", nowhere), 1, "unavailable"},
			"no server":            {with("--server", "nats://127.0.0.1:1"), 1, "unavailable"},
			"an unknown flag":      {with("--colour", "red"), 2, "usage"},
			"a bad timeout":        {with("--timeout", "soon"), 2, "usage"},
			"no time":              {with("--timeout", "0s"), 2, "usage"},
			"a bad server":         {with("--server", "ftp://x"), 2, "usage"},
			"no credentials":       {with("--creds", nowhere), 2, "usage"},
			"a bad prefix":         {with("--subject-prefix", "ac me"), 2, "usage"},
			"a superfluous value":  {append(with("--data", nowhere), "a", "b", "c", "d"), 2, "usage"},
			"a flag without value": {with("--server"), 2, "usage"},
		} {
			if what == "a flag without value" {
				c.args = append(strings.Fields(name), "--server")
			}
			code, stdout, stderr := onTerminal(t, "engine", append(c.args, "--no-color")...)
			if what == "a flag without value" { // --no-color became its value
				code, stdout, stderr = onTerminal(t, "engine", c.args...)
				stderr = strings.NewReplacer("\x1b[31m", "", "\x1b[0m", "").Replace(stderr)
			}
			if code != c.code || stdout != "" || !strings.HasPrefix(stderr, "engine: ") || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s, %s: exit code %d, want %d\n%s%s", name, what, code, c.code, stdout, stderr)
			}
			for _, more := range [][]string{nil, {"--json"}} { // in a pipe an error is JSON in any case
				if more != nil && what == "a flag without value" {
					continue // --json became its value
				}
				code, stdout, stderr = engine(t, append(c.args, more...)...)
				if kind, _ := errorOf(t, stderr); code != c.code || stdout != "" || kind != c.kind {
					t.Errorf("%s, %s, %v: exit code %d, want %d and %s\n%s%s", name, what, more, code, c.code, c.kind, stdout, stderr)
				}
			}
		}
	}
	if code, _, _ := engine(t); code != 0 {
		t.Errorf("without arguments: exit code %d", code)
	}
	for _, args := range [][]string{{"help"}, {"help", "send"}} {
		asked, _, _ := engine(t, args...)
		_, want, _ := engine(t, append(args[1:], "--help")...)
		if _, stdout, _ := engine(t, args...); asked != 0 || stdout != want {
			t.Errorf("%q: exit code %d, %s", args, asked, stdout)
		}
	}
	if code, stdout, _ := engine(t, "send", "--help"); code != 0 || !strings.Contains(stdout, "--json") {
		t.Errorf("--help: exit code %d", code)
	}
}

// TestUsage: what cannot work is refused before anything else happens, with the
// reason.
func TestUsage(t *testing.T) {
	t.Setenv("NATS_URL", "nats://127.0.0.1:1")
	t.Setenv("NO_COLOR", "1")
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	harness.Must(t, os.WriteFile(bad, []byte("a:\n  bucket: B\n  tll: 5\n"), 0o600))
	new := filepath.Join(t.TempDir(), "new")
	for _, c := range []struct{ args, says string }{
		{"fly", "fly"}, {"dlq", "list"}, {"archive", "export"}, {"send", "send: missing <subject>"}, {"query", "missing <subject>"}, {"fork agent.a1", "missing --as=ID"}, {"fork", "missing <from>, --as=ID"}, {"rebuild", "missing <view>"}, {"completion", "missing <shell>"}, {"diff agent.a1", "missing --from"},
		{"query commands.agent.a1.set", "engine send"},
		{"query acme.commands.agent.a1.set", "engine send"},
		{"query enqueue.agent.a1.set", "engine send"},
		{"query $SRV.PING", "does not begin"},
		{"query queries..get", "single dots"},
		{"query queries.agent.*.get", "wildcards"},
		{"query queries.agent.a1.get {} --at-revision 1 --at-time 2026-01-01T00:00:00Z", "exclude"},
		{"query queries.agent.a1.get {} --at-revision=-1", "revision"},
		{"query queries.agent.a1.get [] --at-revision 1", "JSON object"},
		{"send queries.agent.a1.get", "engine query"},
		{"send $JS.API.STREAM.DELETE.EVENTS", "does not begin"},
		{"send commands", "does not begin"},
		{"watch a1", "AGENT.KEY"}, {"watch *", "AGENT.KEY"}, {"watch a1.m*", "never matches"}, {"watch a1..k", "never matches"},
		{"watch a@b.>", "never matches"}, {"watch kv.>", "never matches"}, {"watch a1.>.k", "never matches"},
		{"watch --feed a1..", "agents.state"},
		{"replay --from 5 --to 2", "--from 5 is after --to 2"},
		{"replay --from 2026-01-02T00:00:00Z --to 2026-01-01T00:00:00Z", "after"},
		{"replay --from 2999-01-01T00:00:00Z", "future"},
		{"replay --from=-1", "-1"}, {"replay --from -1", "-1"}, {"replay --from now", "now"}, {"replay --to 0", "--to 0"},
		{"replay --from 5 --to 2999-01-01T00:00:00Z", "both"}, {"replay --from 2026-01-01T00:00:00Z --to 9", "both"},
		{"replay --state --from 3 --to 9", "--state"}, {"replay --subject events..x", "pattern"},
		{"diff agent.a1 --from 5 --to 2", "after"}, {"diff agent. --from 0", "agent.<id>"}, {"diff bird.b --from 0", "bird"},
		{"diff agent.a1 --from 2999-01-01T00:00:00Z", "future"},
		{"fork task.t --as b", "only agents"}, {"fork agent.a1 --as b.c", "--as"},
		{"revert task.t --to-revision 1", "only agents"}, {"revert agent.a1", "one of"}, {"revert agent.a1 --to-version 1", "--to-version"},
		{"revert agent.a1 --to-revision 1 --to-time 2026-01-01T00:00:00Z", "one of"}, {"revert agent.a1 --key k --to-version=-1", "--to-version"},
		{"revert agent.a1 --key a..b --to-version 1", "--key"}, {"revert agent.a1 --to-time now", "--to-time"}, {"revert agent.a1 --to-revision 1 --expected-version 2", "--expected-version"},
		{"verify --sample=-1", "negative"}, {"verify --wait=-1s", "negative"}, {"rebuild moon", "moon"}, {"rebuild message-feed", "rebuild messages"},
		{"archive trim --before yesterday", "neither"}, {"archive trim", "missing --before"}, {"archive import -", "twice"}, {"archive import " + new, "new"},
		{"dlq retry abc", "abc"}, {"dlq drop 0", "neither"}, {"dlq drop -1", "-1"},
		{"topology plan -f " + bad, "line 3"}, {"topology apply -f " + new, "new"},
		{"auth grant alice qury", "character 1"}, {"auth add a.b --role agent", "1 to 128"}, {"auth add a --role king", "no role"}, {"auth add a", "--role"},
		{"auth add a --role agent --agents a.b", "pattern of agent ids"}, {"auth show operator", "built-in"},
		{"demo --agents 0", "--agents"}, {"demo --input " + new, "new"},
		{"serve --data " + new + " --subject-prefix a*", "subject-prefix"},
		{"serve --data " + new + " --subject-prefix a..b", "subject-prefix"},
		{"serve --data " + new + " --subject-prefix a\x1bb", "subject-prefix"},
		{"serve --data " + new + " --subject-prefix _INBOX", "replies"},
		{"serve --data " + new + " --subject-prefix $SYS", "subject-prefix"},
		{"serve --data " + new + " --subject-prefix " + strings.Repeat("x", 200), "128"},
		{"serve --data " + new + " --reply-prefixes a.>", "--reply-prefixes"},
		{"serve --data " + new + " --topology " + bad, "line 3"},
		{"serve --data " + new + " --topology " + new, "new"},
		{"serve --data " + new + " --nats http://x", "--nats"},
		{"serve --data " + new + " --nats nats://a:1,nats://b:99999", "--nats"},
		{"serve --data " + new + " --postgres mysql://u:secret@h/db", "--postgres"},
		{"serve --data " + new + " --postgres postgres://h:port/db", "--postgres"},
		{"serve --data " + new + " --http 8080", "--http"},
		{"serve --data " + new + " --nats-listen 127.0.0.1:99999", "--nats-listen"},
		{"serve --data " + new + " --nats-listen 0.0.0.0:0", "loopback"},
		{"serve --data " + bad, "not a directory"},
	} {
		code, stdout, stderr := onTerminal(t, "engine", strings.Split(c.args, " ")...)
		if strings.Contains(stderr, "did you mean command?") { // commands is no mistyped command
			t.Errorf("engine %q: %s", c.args, stderr)
		}
		if code != 2 || stdout != "" || !strings.Contains(stderr, c.says) || strings.Contains(stderr, "secret") || strings.Contains(stderr, "\x1b") {
			t.Errorf("engine %q: exit code %d, want 2 and %q\n%s%s", c.args, code, c.says, stdout, stderr)
		}
		if _, err := os.Stat(new); err == nil {
			t.Fatalf("engine %q has created the data directory", c.args)
		}
	}
}

// TestVersion: the versions of everything that a file or a server can differ in.
func TestVersion(t *testing.T) {
	code, stdout, _ := engine(t, "version", "--json")
	var v map[string]any
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != 0 {
		t.Fatalf("%d %s", code, stdout)
	}
	for _, name := range []string{"version", "go", "platform", "nats_server", "event_schema", "sql_schema", "export_format"} {
		if v[name] == nil || v[name] == "" || v[name] == 0.0 {
			t.Errorf("%s is missing: %s", name, stdout)
		}
	}
	if code, stdout, _ := engine(t, "version"); code != 0 || stdout != version+"\n" {
		t.Errorf("%d %q", code, stdout)
	}
}

// TestNoEngineOnServer: a NATS server without an engine is a failure, not a
// mistake in the arguments.
func TestNoEngineOnServer(t *testing.T) {
	url := support.NATS(t).URL()
	for _, name := range []string{"status", "send", "query", "verify", "rebuild"} {
		args := append(append(strings.Fields(name), subcommands[name]...), "--server", url, "--json")
		code, _, stderr := engine(t, args...)
		if kind, _ := errorOf(t, stderr); code != 1 || kind != "unavailable" {
			t.Errorf("%s: exit code %d, %s", name, code, stderr)
		}
	}
}
