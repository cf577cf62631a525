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

var subcommand = regexp.MustCompile(`bin/engine ((?:view )?[a-z]+)`)

// variable is a command that sets one.
var variable = regexp.MustCompile(`^([A-Z]+)=\$\(`)

// RunPage runs the commands of a page of the documentation, lines that begin with "$ ",
// on the engine. The lines below a command are what it must print; "…" stands for
// anything. A command NAME=… sets a variable for the later ones. Those that begin with one of
// the words of skip are not run.
func (e *Engine) RunPage(t testing.TB, page string, skip ...string) {
	t.Helper()
	root, err := moduleRoot()
	Must(t, err)
	text, err := os.ReadFile(filepath.Join(root, page))
	Must(t, err)
	ran := 0
	var variables []string
	for _, example := range regexp.MustCompile("(?m)^\\$ (.*)\n((?:[^$`\n].*\n)*)").FindAllStringSubmatch(string(text), -1) {
		if slices.ContainsFunc(skip, func(word string) bool { return strings.HasPrefix(example[1], word) }) {
			continue
		}
		line := subcommand.ReplaceAllString(example[1], `"$$ENGINE" $1 --data "$$DATA"`)
		set := variable.FindStringSubmatch(line)
		if set != nil {
			line += `; printf %s "$` + set[1] + `"`
		}
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = root
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
