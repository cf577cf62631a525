// Package tidemark_test holds the rules about the module as a whole: which
// package may import which, and that each says what it is for.
package tidemark_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tidemark-engine/tidemark"

// rule is one row of the house: what the unit, a package and those below it
// that have no row of their own, may import directly outside of tests. Within
// a unit imports are free.
type rule struct {
	unit string
	may  []string // units of ours; "domain/..." is domain and the units below
	not  []string // of all others; "net/..." is net and what is below
	why  string
}

// pure is what the packages that only compute have no use for.
var pure = []string{
	"context", "crypto/rand", "database/sql", "io/fs", "log/...", "math/rand/...", "net/...", "os/...", "sync/...", "syscall",
	"github.com/ThreeDotsLabs/...", "github.com/jackc/...", "github.com/nats-io/...", "github.com/synadia-io/...",
}

var (
	nats     = []string{"github.com/nats-io/...", "github.com/synadia-io/..."}
	postgres = []string{"database/sql", "github.com/jackc/...", "github.com/pressly/..."}
	ports    = []string{"commands", "domain", "events", "projections", "readmodel"}
)

var house = []rule{
	{"events", nil, pure,
		"events are the published facts: they depend on nobody, and decoding one gives the same result everywhere and always"},
	{"domain", []string{"events"}, pure,
		"the kernel is shared by all aggregates: it knows none of them, and it is a pure function of what it is given"},
	{"domain/agent", []string{"domain", "events"}, pure, decider},
	{"domain/task", []string{"domain", "events"}, pure, decider},
	{"domain/session", []string{"domain", "events"}, pure, decider},
	{"domain/config", []string{"domain", "events"}, pure, decider},
	{"domain/message", []string{"domain", "events"}, pure, decider},
	{"commands", []string{"domain/...", "events"}, slices.Concat(nats, postgres),
		"carrying out asks its own port for the journal: technology is the adapters', and the write side knows no read model"},
	{"readmodel", []string{"domain", "events"}, slices.Concat(nats, postgres),
		"questions and row types are the same for every tier: technology is the adapters'"},
	{"projections", []string{"domain", "events", "readmodel"}, slices.Concat(nats, postgres),
		"a view folds published events alone: a rule of one aggregate used here would make rows depend on code that decides; technology is the adapters'"},
	{"infra/natsio", ports, postgres,
		"an adapter implements ports with one technology: adapters never import each other, and no aggregate"},
	{"infra/pg", ports, nats,
		"an adapter implements ports with one technology: adapters never import each other, and no aggregate"},
	{"config", nil, pure,
		"what ships inside the program is bytes: reading them is the reader's"},
	{"client", nil, postgres,
		"the SDK speaks the wire contract alone, as a client in any other language must"},
	{"examples", []string{"client"}, nil,
		"an example shows what a user of the SDK can do"},
	{"cmd/engine", []string{"client", "commands", "config", "domain/...", "events", "infra/...", "projections", "readmodel"}, nil,
		"the program wires everything together; nobody imports it"},
	{"test", []string{"..."}, nil,
		"end-to-end tests may look everywhere; nobody imports them"},
}

const decider = "an aggregate is decided from its own state alone: no other aggregate, no clock, no randomness, no I/O"

// planned are units and forbidden imports of the rules above that nothing
// matches yet. What appears leaves this list; anything else that matches
// nothing is a stale rule.
var planned = []string{
	"client", "domain/message",
}

func TestHouse(t *testing.T) {
	pkgs := ours(t)
	for _, v := range violations(house, pkgs) {
		t.Error(v)
	}
	imports := strings.Fields(goList(t, "-deps", "-test", "./..."))
	for _, v := range stale(house, planned, pkgs, imports) {
		t.Error(v)
	}
}

// A rule that catches nothing proves nothing: each kind is broken here once.
func TestHouseCatches(t *testing.T) {
	rules := []rule{
		{"low", nil, []string{"net/..."}, "low is pure"},
		{"low/x", []string{"low"}, nil, "x knows only low"},
		{"low/y", []string{"low"}, nil, "y knows only low"},
		{"mid", []string{"low/..."}, nil, "mid knows what is low"},
		{"top", []string{"..."}, nil, "top knows all"},
	}
	p := func(path string, imports ...string) pkg {
		for i, imp := range imports {
			imports[i] = strings.Replace(imp, "./", module+"/", 1)
		}
		return pkg{ImportPath: module + "/" + path, Imports: imports}
	}
	for _, c := range []struct {
		name string
		pkg  pkg
		want string // part of the only violation; "" = none
	}{
		{"others are free", p("low", "fmt", "network"), ""},
		{"within the unit", p("low/deep", "./low"), ""},
		{"named unit", p("low/x", "./low"), ""},
		{"named unit, deep on both sides", p("low/x/deep", "./low/deep"), ""},
		{"tree", p("mid", "./low", "./low/x/deep"), ""},
		{"all", p("top", "./mid", "./low/y"), ""},
		{"forbidden", p("low", "net"), "low imports net: low is pure"},
		{"forbidden, below", p("low/deep", "net/http"), "low/deep imports net/http: low is pure"},
		{"sibling", p("low/x", "./low/y"), "low/x imports low/y: x knows only low"},
		{"upwards", p("low", "./mid"), "low imports mid: low is pure"},
		{"no row", p("new", "fmt"), "new is in no row of the house"},
		{"the root", pkg{ImportPath: module, Imports: []string{"fmt"}}, "the module's root holds no code but tests"},
	} {
		got := violations(rules, []pkg{c.pkg})
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}

	got := stale(rules, []string{"low/x", "mid", "gone"}, []pkg{p("low"), p("low/x"), p("top")}, []string{"network"})
	want := []string{"net/... matches nothing", "low/x has come", "low/y matches nothing", "gone is planned, but in no rule"}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("stale: got %q, want %q", got, want)
	}
}

// violations names every import that a rule forbids, with the rule's reason.
func violations(rules []rule, pkgs []pkg) []string {
	var bad []string
	for _, p := range pkgs {
		if p.ImportPath == module {
			if len(p.Imports) > 0 {
				bad = append(bad, "the module's root holds no code but tests")
			}
			continue
		}
		r := ruleOf(rules, p.path())
		if r == nil {
			bad = append(bad, p.path()+" is in no row of the house: give it one, or move it below a package that has one")
			continue
		}
		for _, imp := range p.Imports {
			if !r.allows(rules, imp) {
				bad = append(bad, fmt.Sprintf("%s imports %s: %s", p.path(), strings.TrimPrefix(imp, module+"/"), r.why))
			}
		}
	}
	return bad
}

func (r *rule) allows(rules []rule, imp string) bool {
	path, own := strings.CutPrefix(imp, module+"/")
	if !own {
		return !slices.ContainsFunc(r.not, func(pattern string) bool { return match(pattern, imp) })
	}
	to := ruleOf(rules, path)
	return to == nil || to.unit == r.unit || // no row: said once, about the package itself
		slices.ContainsFunc(r.may, func(pattern string) bool { return match(pattern, to.unit) })
}

// stale names what in rules and planned means nothing, or nothing any more.
func stale(rules []rule, planned []string, pkgs []pkg, imports []string) []string {
	var subjects []string // units and forbidden imports
	found := map[string]bool{}
	for _, r := range rules {
		subjects = append(subjects, r.unit)
		found[r.unit] = slices.ContainsFunc(pkgs, func(p pkg) bool {
			to := ruleOf(rules, p.path())
			return to != nil && to.unit == r.unit
		})
		for _, pattern := range r.not {
			if _, again := found[pattern]; !again {
				subjects = append(subjects, pattern)
				found[pattern] = slices.ContainsFunc(imports, func(imp string) bool { return match(pattern, imp) })
			}
		}
	}
	var bad []string
	for _, s := range subjects {
		switch due := slices.Contains(planned, s); {
		case found[s] && due:
			bad = append(bad, s+" has come: take it out of planned")
		case !found[s] && !due:
			bad = append(bad, s+" matches nothing: a slip, or a rule to remove")
		}
	}
	for _, s := range planned {
		if !slices.Contains(subjects, s) {
			bad = append(bad, s+" is planned, but in no rule")
		}
	}
	return bad
}

// ruleOf is the row of the nearest unit at or above path.
func ruleOf(rules []rule, path string) *rule {
	var best *rule
	for i, r := range rules {
		if match(r.unit+"/...", path) && (best == nil || len(r.unit) > len(best.unit)) {
			best = &rules[i]
		}
	}
	return best
}

// match is the go command's: "a" is a alone, "a/..." also what is below, "..."
// everything.
func match(pattern, path string) bool {
	tree, below := strings.CutSuffix(pattern, "/...")
	return pattern == "..." || path == tree || below && strings.HasPrefix(path, tree+"/")
}

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath, Name, Dir              string
	Imports                            []string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

func (p pkg) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// ours lists the module's packages.
func ours(t *testing.T) []pkg {
	t.Helper()
	watch(t)
	var pkgs []pkg
	out := json.NewDecoder(strings.NewReader(goList(t, "-json=ImportPath,Name,Dir,Imports,GoFiles,TestGoFiles,XTestGoFiles", "./...")))
	for {
		var p pkg
		switch err := out.Decode(&p); {
		case errors.Is(err, io.EOF):
			return pkgs
		case err != nil:
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func goList(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e"}, args...)...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, problems.String())
	}
	return string(out)
}

// watch looks at every source file. go list does so too, but in a process of
// its own, which the cache of test results does not see: without this a new
// import elsewhere would not run the test again.
func watch(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || path == "bin" || path == "data"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
