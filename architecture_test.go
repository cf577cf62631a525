package tidemark_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
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
