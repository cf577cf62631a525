package console

import (
	"bytes"
	"go/format"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/a-h/templ/generator"
	"github.com/a-h/templ/parser/v2"
)

// The committed code is what the templates say.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	templates, err := filepath.Glob("*.templ")
	if err != nil || len(templates) == 0 {
		t.Fatal("no templates", err)
	}
	for _, name := range templates {
		file, err := parser.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := generator.Generate(file, &b, generator.WithFileName(name)); err != nil {
			t.Fatal(err)
		}
		want, err := format.Source(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(strings.TrimSuffix(name, ".templ") + "_templ.go")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(withoutVersion(got), withoutVersion(want)) {
			t.Errorf("%s has changed: run make generate", name)
		}
	}
	of, err := filepath.Glob("*_templ.go")
	if err != nil || len(of) != len(templates) {
		t.Errorf("%d files are generated from %d templates: %v", len(of), len(templates), err)
	}
}

// withoutVersion leaves out the comment with the version of the generator.
func withoutVersion(code []byte) []byte {
	if i := bytes.Index(code, []byte("\npackage ")); i >= 0 {
		return code[i:]
	}
	return code
}
