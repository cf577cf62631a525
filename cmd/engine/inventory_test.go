package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// apart are the subcommands that are no clients of an engine, or need a server of their own
// kind; TestExitCodes runs all others.
var apart = map[string]string{
	"serve": "the engine", "completion": "prints a script", "version": "needs no engine", "demo": "starts an engine", "mcp": "speaks on standard output",
	"auth init": "works on files", "auth add": "writes credentials", "auth rotate": "writes credentials", "auth print-config": "works on files",
	"auth rotate-master": "works on keys", "archive import": "needs a file",
}

// TestInventory: every subcommand has a text, and either is run by TestExitCodes or has a
// reason; every client has --json.
func TestInventory(t *testing.T) {
	var tab table
	k, err := parser(&tab, "engine")
	harness.Must(t, err)
	there := map[string]bool{}
	for _, leaf := range k.Model.Leaves(true) {
		name := strings.TrimPrefix(leaf.FullPath(), "engine ")
		there[name] = true
		if !strings.HasSuffix(leaf.Help, ".") {
			t.Errorf("%s has no text: %q", name, leaf.Help)
		}
		flags := map[string]bool{}
		for _, group := range leaf.AllFlags(true) {
			for _, f := range group {
				if flags[f.Name] = true; f.Help == "" {
					t.Errorf("%s --%s has no text", name, f.Name)
				}
			}
		}
		for _, arg := range leaf.Positional {
			if arg.Help == "" {
				t.Errorf("%s %s has no text", name, arg.Name)
			}
		}
		_, run := subcommands[name]
		if _, reason := apart[name]; run == reason {
			t.Errorf("%s: give it arguments in subcommands, or a reason in apart", name)
		}
		if name != "serve" && name != "completion" && !flags["json"] {
			t.Errorf("%s has no --json", name)
		}
		if code, _, stderr := onTerminal(t, "engine", append(strings.Fields(name), "--colour")...); code != 2 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s with an unknown flag: exit code %d\n%s", name, code, stderr)
		}
	}
	for name := range apart {
		if !there[name] {
			t.Errorf("there is no subcommand %s", name)
		}
	}
}

// TestNames: texts name the program as it was called.
func TestNames(t *testing.T) {
	for path, name := range map[string]string{"/usr/bin/tidemark": "tidemark", "bin/engine": "engine"} {
		other := map[string]string{"tidemark": "engine", "engine": "tidemark"}[name]
		_, help, _ := onTerminal(t, path, "serve", "--help")
		_, _, mistake := onTerminal(t, path, "query", "commands.agent.a1.set")
		if !strings.Contains(help, "Data directory; default: ./data") {
			t.Errorf("the help lacks a default:\n%s", help)
		}
		for text, has := range map[string]string{help: name + " auth add", mistake: name + " send"} {
			if !strings.Contains(text, has) || strings.Contains(text, strings.Replace(has, name, other, 1)) {
				t.Errorf("called as %s, %q is not in\n%s", path, has, text)
			}
		}
	}
}

// TestDidYouMean: mistyped words are answered with the near ones.
func TestDidYouMean(t *testing.T) {
	for args, says := range map[string]string{
		"stauts": `"status"`, "view lst": `"list"`, "status --jsno": `"--json"`, "send agnt.a1.set": "agent", "query agants.list": "agents",
	} {
		code, _, stderr := onTerminal(t, "engine", strings.Fields(args)...)
		if code != 2 || !strings.Contains(stderr, "did you mean") || !strings.Contains(stderr, says) {
			t.Errorf("engine %s: exit code %d\n%s", args, code, stderr)
		}
	}
}

// TestVersionFlag: --version prints what version prints.
func TestVersionFlag(t *testing.T) {
	if code, stdout, stderr := engine(t, "--version"); code != 0 || stdout != version+"\n" || stderr != "" {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
}

// TestColours: on a terminal alone, and not with --no-color or NO_COLOR.
func TestColours(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if _, _, stderr := onTerminal(t, "engine", "fly"); !strings.Contains(stderr, "\x1b[31m") {
		t.Errorf("no colour: %q", stderr)
	}
	if _, _, stderr := onTerminal(t, "engine", "fly", "--no-color"); strings.Contains(stderr, "\x1b") {
		t.Errorf("--no-color: %q", stderr)
	}
	t.Setenv("NO_COLOR", "1")
	if _, _, stderr := onTerminal(t, "engine", "fly"); strings.Contains(stderr, "\x1b") {
		t.Errorf("NO_COLOR: %q", stderr)
	}
}

// TestCompletion runs the scripts in the shells that there are; bash must be there.
func TestCompletion(t *testing.T) {
	_, script, _ := engine(t, "completion", "bash")
	for line, want := range map[string]string{
		"engine sta":                        "status",
		"engine view ":                      "add list remove show --no-color --version",
		"engine view list --al":             "--all",
		"engine serve --durability ":        "synced relaxed",
		"engine serve --durability=re":      "relaxed",
		"engine --data x":                   "",
		"engine completion f":               "fish",
		"engine archive trim --subject-pre": "--subject-prefix",
	} {
		bash := exec.CommandContext(t.Context(), "bash", "--norc", "-c", script+`
			line=$1 # split as readline splits it
			read -ra COMP_WORDS <<< "${line//=/ = }"
			[[ $line == *" " ]] && COMP_WORDS+=("")
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
			_engine
			echo "${COMPREPLY[@]}"`, "bash", line)
		out, err := bash.CombinedOutput()
		words := strings.Fields(strings.ReplaceAll(string(out), "--help", ""))
		slices.Sort(words)
		wanted := strings.Fields(want)
		slices.Sort(wanted)
		if got := strings.Join(words, " "); err != nil || !slices.Equal(words, wanted) {
			t.Errorf("%q is completed with %q, want %q: %v", line, got, want, err)
		}
	}
	for shell, then := range map[string]struct{ program, prints string }{
		"zsh":  {"\nprint $_comps[engine]", "_bash_complete -o default -F _engine"},
		"fish": {"\nfor line in 'engine sta' 'engine view l' 'engine serve --durability '\ncomplete -C $line | cut -f1\nend", "status\nlist\nrelaxed\nsynced"},
	} {
		code, script, _ := engine(t, "completion", shell)
		if code != 0 || !strings.Contains(script, "engine") {
			t.Errorf("completion %s: %d", shell, code)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("no %s on this machine: its script is not run", shell)
			continue
		}
		out, err := exec.CommandContext(t.Context(), path, "-c", script+then.program).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != then.prints {
			t.Errorf("%s prints %q: %v", shell, got, err)
		}
	}
}
