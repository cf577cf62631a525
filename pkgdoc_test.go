package tidemark_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Every package says once what it is for.
func TestPackageComments(t *testing.T) {
	for _, p := range ours(t) {
		files := p.GoFiles
		if len(files) == 0 { // only tests
			files = append(p.TestGoFiles, p.XTestGoFiles...)
		}
		var comments []string // the files that have one
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			text := f.Doc.Text()
			if text == "" || strings.HasPrefix(text, "Code generated ") {
				continue
			}
			comments = append(comments, name)
			if want := "Package " + f.Name.Name + " "; p.Name != "main" && !strings.HasPrefix(text, want) {
				t.Errorf("%s/%s: the package comment begins with %q", p.path(), name, want)
			}
		}
		if len(comments) != 1 {
			t.Errorf("%s has %d package comments %q, not one", p.path(), len(comments), comments)
		}
	}
}
