package contract_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/contract"
)

// made are the codes whose names the code puts together, or takes from a variable.
var made = []string{
	"agent.cold", "agent.hydrating", "agent.active", "agent.flushing", "agent.expired", // "agent." + phase
	"task.already_completed", "task.already_failed", "task.already_cancelled", // "task.already_" + status
	"session.closed", "session.expired", // "session." + status
	"up_to.invalid", "marks.invalid", // name + ".invalid"
	"status.unknown", "phase.unknown", "kind.unknown", // field + ".unknown"
	"inbox.not_found",                   // kind + ".not_found"
	"sql.unavailable", "kv.unavailable", // tier + ".unavailable"
}

// internalCodes are never seen by clients: they end in the log of a view, or of the fold.
var internalCodes = []string{"event.not_found", "event.unhandled"}

// Every error code in the source is declared with its kind, and every declared one is in the
// source.
func TestEveryErrorCodeIsDeclared(t *testing.T) {
	kinds := map[string]string{
		"Invalid": "invalid", "Forbidden": "forbidden", "NotFound": "not_found", "Conflict": "conflict", "TooLarge": "too_large",
		"Rejected": "rejected", "Overloaded": "overloaded", "Unavailable": "unavailable", "Internal": "internal",
	}
	texts := map[string]bool{}
	for _, code := range made {
		texts[code] = true
	}
	for _, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if n.Kind == token.STRING {
					text, _ := strconv.Unquote(n.Value)
					texts[text] = true
				}
			case *ast.CallExpr:
				if len(n.Args) < 3 || named(n.Fun) != "Errorf" {
					return true
				}
				code, ok := n.Args[1].(*ast.BasicLit)
				kind := kinds[named(n.Args[0])]
				if !ok || kind == "" {
					return true
				}
				text, _ := strconv.Unquote(code.Value)
				if declared, ok := contract.Codes[text]; !slices.Contains(internalCodes, text) && (!ok || declared.Kind != kind) && text != "cron.invalid" {
					t.Errorf("%s is %s in the source, and declared as %q", text, kind, declared.Kind)
				}
			}
			return true
		})
	}
	for code, d := range contract.Codes {
		if !texts[code] {
			t.Errorf("no source has the code %s", code)
		}
		if !strings.HasSuffix(d.Doc, ".") {
			t.Errorf("%s has no description", code)
		}
	}
	for _, s := range contract.Statuses {
		if got := domain.Kind(s.Kind).Status(); got != s.Status {
			t.Errorf("%s is %d, and declared as %d", s.Kind, got, s.Status)
		}
	}
}

func named(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// sources are the parsed files of the engine, without tests and without the declarations.
func sources(t *testing.T) (files []*ast.File) {
	t.Helper()
	root := "../.."
	for _, dir := range []string{"domain", "commands", "history", "readmodel", "projections", "infra", "internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() == "contract" {
				if err == nil {
					err = filepath.SkipDir
				}
				return err
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			files = append(files, f)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// Every event type of the package events is declared, and no other.
func TestEveryEventIsDeclared(t *testing.T) {
	types := map[string]bool{}
	files, err := filepath.Glob("../../events/testdata/*.1.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden events", err)
	}
	for _, file := range files {
		name := strings.Split(filepath.Base(file), ".")
		types[name[0]+"."+name[1]] = true
	}
	for typ := range types {
		if _, ok := contract.Events[typ]; !ok {
			t.Errorf("%s is not declared", typ)
		}
	}
	for typ := range contract.Events {
		if !types[typ] {
			t.Errorf("there is no event %s", typ)
		}
	}
}
