package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var subcommand = regexp.MustCompile(`bin/engine ((?:(?:view|auth|archive|dlq|topology) )?[a-z-]+)`)

// served is a command that starts the engine.
var served = regexp.MustCompile(`^bin/engine serve(.*)`)

// natsServer is a command that starts a NATS server with a configuration.
var natsServer = regexp.MustCompile(`^nats-server -c (\S+)$`)

// variable is a command that sets one.
var variable = regexp.MustCompile(`^([A-Z]+)=\$\(`)

// RunPage runs the commands of a page of the documentation, lines that begin with "$ ",
// on the engine. The lines below a command are what it must print; "…" stands for
// anything. A command NAME=… sets a variable for the later ones, 127.0.0.1:8080 is the engine's
// HTTP address and 127.0.0.1:4222 that of its NATS server, ./data is its data directory, and a
// command that serves starts the engine again with its flags. Those that begin with one of the
// words of skip are not run. The commands work in a directory that looks like the repository,
// those of go in the repository.
func (e *Engine) RunPage(t testing.TB, page string, skip ...string) {
	t.Helper()
	root, err := moduleRoot()
	Must(t, err)
	text, err := os.ReadFile(filepath.Join(root, page))
	Must(t, err)
	dir := e.pageDir(root)
	ran := 0
	var variables []string
	for _, example := range regexp.MustCompile("(?m)^\\$ (.*)\n((?:[^$`\n].*\n)*)").FindAllStringSubmatch(string(text), -1) {
		if slices.ContainsFunc(skip, func(word string) bool { return strings.HasPrefix(example[1], word) }) {
			continue
		}
		written := strings.ReplaceAll(example[1], "127.0.0.1:8080", address(e.HTTPURL))
		written = strings.ReplaceAll(written, "127.0.0.1:4222", address(e.NATSURL))
		if serve := served.FindStringSubmatch(written); serve != nil {
			if e.proc != nil {
				e.Stop()
			}
			e.Launch(strings.Fields(strings.NewReplacer("./data/", e.Data+"/", "./", dir+"/").Replace(serve[1]))...)
			e.Await()
			continue
		}
		if server := natsServer.FindStringSubmatch(written); server != nil {
			e.serveNATS(t, filepath.Join(dir, server[1]))
			continue
		}
		line := subcommand.ReplaceAllString(written, `"$$ENGINE" $1 --data "$$DATA"`)
		if strings.Contains(example[1], " --data ") || strings.Contains(example[1], " --server ") {
			line = strings.ReplaceAll(written, "bin/engine", `"$ENGINE"`)
		}
		set := variable.FindStringSubmatch(line)
		if set != nil {
			line += `; printf %s "$` + set[1] + `"`
		}
		cmd := exec.Command("sh", "-c", line)
		if cmd.Dir = dir; strings.HasPrefix(example[1], "go ") {
			cmd.Dir = root // go.mod is there
		}
		cmd.Env = append(command("", nil).Env, "ENGINE="+Binary(t), "DATA="+e.Data, "NATS_URL="+e.NATSURL)
		cmd.Env = append(cmd.Env, variables...)
		out, _ := cmd.CombinedOutput() // of a refusal too; the program then fails
		if set != nil {
			variables, out = append(variables, set[1]+"="+string(out)), nil
		}
		want := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(example[2])), " … ", ".*")
		if want = strings.ReplaceAll(want, "…", ".*"); !regexp.MustCompile("^(?s:" + want + ")$").MatchString(strings.TrimSpace(string(out))) {
			t.Errorf("%s: %s\nprints %s\nwant %s", page, example[1], out, example[2])
		}
		ran++
	}
	if ran == 0 {
		t.Error(fmt.Sprint(page, " has no commands"))
	}
}

// serveNATS runs a NATS server at the address of the engine's, which does not run yet.
func (e *Engine) serveNATS(t testing.TB, config string) {
	t.Helper()
	own := config + ".test"
	store := filepath.Join(TempDir(t), "jetstream")
	Must(t, os.WriteFile(own, fmt.Appendf(nil, "include %q\nlisten: %q\njetstream { store_dir: %q, max_file: 64GB }\n", filepath.Base(config), address(e.NATSURL), store), 0o600))
	StartNATSServer(t, "nats", own)
	t.Cleanup(func() { // before the server ends
		if e.proc != nil {
			e.Stop()
		}
	})
}

// pageDir is where the commands of pages work, for all pages of an engine.
func (e *Engine) pageDir(root string) string {
	if e.pages != "" {
		return e.pages
	}
	e.pages = TempDir(e.t)
	entries, err := os.ReadDir(root)
	Must(e.t, err)
	for _, entry := range entries {
		if entry.IsDir() && entry.Name() != "data" {
			Must(e.t, os.Symlink(filepath.Join(root, entry.Name()), filepath.Join(e.pages, entry.Name())))
		}
	}
	return e.pages
}
