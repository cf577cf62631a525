package tidemark_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/explanation/architecture.md walks through the code: each way has at most maxSteps
// steps, numbered from 1, and every function that a step names is in the file beside it.
func TestArchitectureSteps(t *testing.T) {
	page, err := os.ReadFile("docs/explanation/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	const maxSteps = 15
	ways := strings.Split(string(page), "\n## The way of ")[1:]
	if len(ways) != 3 {
		t.Errorf("the page has %d ways, not those of a command, an event and a read token", len(ways))
	}
	step := regexp.MustCompile(`(?m)^\| (\d+) \|.*\| (.*) \|$`)
	place := regexp.MustCompile("((?:`\\w+`(?:, )?)+) in `([\\w./-]+\\.go)`")
	declared := map[string][]string{} // functions by file
	for _, way := range ways {
		title, _, _ := strings.Cut(way, "\n")
		steps := step.FindAllStringSubmatch(way, -1)
		if len(steps) == 0 || len(steps) > maxSteps {
			t.Errorf("the way of %s has %d steps, not 1 to %d", title, len(steps), maxSteps)
		}
		for i, s := range steps {
			places := place.FindAllStringSubmatch(s[2], -1)
			if s[1] != strconv.Itoa(i+1) || strings.Join(wholes(places), ", ") != s[2] {
				t.Errorf("the way of %s: step %d is %s, at %q", title, i+1, s[1], s[2])
			}
			for _, at := range places {
				for name := range strings.SplitSeq(strings.ReplaceAll(at[1], "`", ""), ", ") {
					if !slices.Contains(functionsOf(t, declared, at[2]), name) {
						t.Errorf("the way of %s: %s has no function %s", title, at[2], name)
					}
				}
			}
		}
	}
}

// wholes are the texts that an expression has matched.
func wholes(matches [][]string) (all []string) {
	for _, m := range matches {
		all = append(all, m[0])
	}
	return all
}

// functionsOf are the functions and methods of a file, which it reads once.
func functionsOf(t *testing.T, known map[string][]string, path string) []string {
	t.Helper()
	if known[path] == nil {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				known[path] = append(known[path], f.Name.Name)
			}
		}
	}
	return known[path]
}

// Every test that docs/explanation/reliability.md names exists.
func TestReliabilityNamesTests(t *testing.T) {
	page, err := os.ReadFile("docs/explanation/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declaration.FindAllSubmatch(text, -1) {
			declared[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(string(page), -1)
	if len(named) < 80 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, name := range named {
		if !declared[name] {
			t.Errorf("there is no test %s", name)
		}
	}
}
