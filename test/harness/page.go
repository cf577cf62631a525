package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var subcommand = regexp.MustCompile(`bin/engine ((?:view )?[a-z]+)`)

// RunPage runs the commands of a page of the documentation, lines that begin with "$ ",
// on the engine. The lines below a command are what it must print; "…" stands for
// anything.
func (e *Engine) RunPage(t testing.TB, page string) {
	t.Helper()
	root, err := moduleRoot()
	Must(t, err)
	text, err := os.ReadFile(filepath.Join(root, page))
	Must(t, err)
	ran := 0
	for _, example := range regexp.MustCompile("(?m)^\\$ (.*)\n((?:[^$`\n].*\n)*)").FindAllStringSubmatch(string(text), -1) {
		line := subcommand.ReplaceAllString(example[1], `"$$ENGINE" $1 --data "$$DATA"`)
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = root
		cmd.Env = append(command("", nil).Env, "ENGINE="+Binary(t), "DATA="+e.Data, "NATS_URL="+e.NATSURL)
		out, _ := cmd.CombinedOutput() // of a refusal too; the program then fails
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
