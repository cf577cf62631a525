package tidemark_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every step that docs/explanation/architecture.md names is a function in the
// file that it names.
func TestArchitectureSteps(t *testing.T) {
	page, err := os.ReadFile("docs/explanation/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile("`(\\w+)` in `([\\w./-]+\\.go)`").FindAllSubmatch(page, -1)
	if len(steps) < 35 {
		t.Fatalf("only %d steps are found", len(steps))
	}
	for _, step := range steps {
		name, path := string(step[1]), string(step[2])
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		found := false
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			found = found || ok && f.Name.Name == name
		}
		if !found {
			t.Errorf("%s has no function %s", path, name)
		}
	}
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
