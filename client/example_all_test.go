package client_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestEveryFunctionHasAnExample: every exported function and method is used in an example,
// but for those of interfaces of the standard library.
func TestEveryFunctionHasAnExample(t *testing.T) {
	files, err := filepath.Glob("*.go")
	harness.Must(t, err)
	exported, used := map[string]string{}, map[string]bool{"Error": true, "Is": true, "Unwrap": true}
	set := token.NewFileSet()
	for _, file := range files {
		tree, err := parser.ParseFile(set, file, nil, 0)
		harness.Must(t, err)
		for _, d := range tree.Decls {
			f, ok := d.(*ast.FuncDecl)
			switch {
			case !ok:
			case !strings.HasSuffix(file, "_test.go") && f.Name.IsExported():
				exported[f.Name.Name] = set.Position(f.Pos()).String()
			case strings.HasPrefix(f.Name.Name, "Example"):
				ast.Inspect(f, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						used[s.Sel.Name] = true
					}
					return true
				})
			}
		}
	}
	var missing []string
	for name, at := range exported {
		if !used[name] {
			missing = append(missing, at+": "+name)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 || len(exported) < 50 {
		t.Errorf("of %d without an example:\n%s", len(exported), strings.Join(missing, "\n"))
	}
}
