package security

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestProgramHasGrants: with --creds the subcommands that use the engine's own rights do what
// the principal may, although they could read the data directory, and the audit has its name.
func TestProgramHasGrants(t *testing.T) {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--auth", "on"}})
	dir := t.TempDir()
	run := func(as string, args ...string) harness.Result {
		t.Helper()
		args = append(args, "--data", e.Data)
		if as != "" {
			args = append(args, "--creds", filepath.Join(dir, as))
		}
		return harness.Run(t, args...)
	}
	for name, role := range map[string]string{"root": "admin", "ops": "operator", "view": "reader", "mon": "none", "half": "none"} {
		if r := run("", "auth", "add", name, "--role", role, "--out", filepath.Join(dir, name)); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	for name, grant := range map[string]string{"mon": "admin status", "half": "admin rebuild"} { // one without the other
		if r := run("", "auth", "grant", name, grant); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	for area, commands := range map[string][]string{
		"auth":     {"auth list", "auth log", "auth show ops", "auth grant view command_agent:x", "auth add thief --role admin --out " + filepath.Join(dir, "thief"), "auth rotate ops --out " + filepath.Join(dir, "thief"), "auth revoke ops"},
		"dlq":      {"dlq list", "dlq drop all", "dlq retry all"},
		"rebuild":  {"rebuild hot", "rebuild hot --plan"},
		"archive":  {"archive export " + filepath.Join(dir, "export.jsonl")},
		"topology": {"topology plan", "topology apply"},
		"verify":   {"verify", "verify --repair"},
	} {
		for _, command := range commands {
			args := strings.Fields(command)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "_", " ")
			}
			for _, as := range []string{"view", "mon", "half", "ops"} {
				missing := "admin " + area
				switch {
				case as == "half" && area == "rebuild":
					missing = "admin status"
				case as == "ops" && area != "auth":
					continue
				}
				r := run(as, args...)
				if r.Code != 1 || !strings.Contains(r.Stderr, `"status":403`) || !strings.Contains(r.Stderr, `"missing":"`+missing+`"`) {
					t.Errorf("%s as %s: %d %s%s", command, as, r.Code, r.Stdout, r.Stderr)
				}
			}
			if area != "auth" {
				if r := run("ops", args...); r.Code != 0 {
					t.Errorf("%s as ops: %d %s%s", command, r.Code, r.Stdout, r.Stderr)
				}
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "thief")); err == nil {
		t.Error("a file was written")
	}
	if r := run("root", "auth", "rotate", "view", "--out", filepath.Join(dir, "view-2")); r.Code != 0 || r.Stderr != "" {
		t.Errorf("rotate as root: %+v", r)
	}
	if r := run("half", "status"); r.Code != 0 || !strings.Contains(r.Stdout, `"admin status" is missing`) || strings.Contains(r.Stdout, "NATS") {
		t.Errorf("status as half: %+v", r)
	}
	if r := run("half", "top", "--once"); r.Code != 1 || r.Stdout != "" || !strings.Contains(r.Stderr, `"status":403`) || !strings.Contains(r.Stderr, "admin status") {
		t.Errorf("top as half: %+v", r)
	}
	acted, refused := map[string]bool{}, map[string]int{}
	for line := range strings.Lines(run("root", "auth", "log", "--json").Stdout) {
		var ev struct {
			Type, ID, Actor string
			Data            struct {
				Action  string
				Missing map[string]int
			}
		}
		harness.Must(t, json.Unmarshal([]byte(line), &ev))
		switch ev.Type {
		case "access.refused":
			for missing, n := range ev.Data.Missing {
				refused[ev.ID+" "+missing] += n
			}
		case "operator.acted", "principal.rotated":
			acted[ev.Actor+" "+ev.Type+" "+ev.Data.Action] = true
		}
	}
	for _, want := range []string{"ops operator.acted rebuild", "ops operator.acted topology apply", "ops operator.acted verify", "root principal.rotated "} {
		if !acted[want] {
			t.Errorf("the audit has no %q among %v", want, acted)
		}
	}
	if refused["view admin auth"] != 7 || refused["ops admin auth"] != 7 || refused["half admin status"] != 2 {
		t.Errorf("the audit has the refusals %v", refused)
	}
	for _, args := range [][]string{{"auth", "add", "everyone", "--role", "reader", "--agents", ""}, {"auth", "add", "everyone", "--role", "agent", "--agents="}} {
		if r := run("", args...); r.Code != 2 || !strings.Contains(r.Stderr, "pattern of agent ids") {
			t.Errorf("%q: %+v", args, r)
		}
	}
	empty := t.TempDir()
	if r := harness.Run(t, "auth", "list", "--data", empty); r.Code != 1 || !strings.Contains(r.Stderr, "has no data of an engine") {
		t.Errorf("auth list without data: %+v", r)
	}
	if files, err := os.ReadDir(empty); err != nil || len(files) > 0 {
		t.Errorf("it has made %v, %v", files, err)
	}
}
