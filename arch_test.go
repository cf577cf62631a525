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
)

// The floors, lowest first: events, domain, history, readmodel, commands and
// projections, infra, cmd. A unit imports lower floors and, within its own
// floor, only what its row names.
var house = []rule{
	{"events", nil, pure,
		"events are the published facts: they depend on no other package, and decoding one gives the same result everywhere and always"},
	{"domain", []string{"events", "internal/wildcard"}, pure,
		"the kernel is shared by all aggregates: it knows none of them, and it is a pure function of its arguments"},
	{"domain/agent", []string{"domain", "events"}, pure, decider},
	{"domain/task", []string{"domain", "events"}, pure, decider},
	{"domain/reminder", []string{"domain", "events"}, pure, decider},
	{"domain/session", []string{"domain", "events"}, pure, decider},
	{"domain/inbox", []string{"domain", "events"}, pure, decider},
	{"domain/config", []string{"domain", "events"}, pure, decider},
	{"domain/message", []string{"domain", "events"}, pure, decider},

	{"history", []string{"domain", "events"}, slices.Concat(nats, postgres),
		"journal and archive are one sequence behind ports: technology belongs to the adapters"},

	{"readmodel", []string{"domain", "events"}, slices.Concat(nats, postgres),
		"row types and the fold of one event into a row are the same for every tier"},
	{"readmodel/declared", []string{"domain", "events", "readmodel"}, pure,
		"the rows of a declared view follow from its definition and the rows that it reads"},
	{"readmodel/tiers", []string{"domain", "events", "history", "internal/wait", "readmodel"}, slices.Concat(nats, postgres),
		"tiers answer from ports: technology belongs to the adapters"},
	{"readmodel/query", []string{"domain", "events", "history", "internal/grants", "internal/identity", "internal/wait", "internal/wildcard", "readmodel", "readmodel/declared", "readmodel/tiers"}, slices.Concat(nats, postgres),
		"queries ask tiers and history, and encode the answers"},

	{"commands", []string{"commands/groupcommit", "domain/...", "events", "history", "internal/grants", "internal/identity", "internal/trace", "internal/wait"}, slices.Concat(nats, postgres),
		"executing asks the history alone: the write side knows no read model and no technology"},
	{"commands/groupcommit", []string{"events", "history"}, slices.Concat(nats, postgres),
		"group commit is an appender over an appender: it knows no command"},
	{"commands/taskqueue", []string{"commands", "domain", "domain/task", "events", "internal/identity", "internal/wait"}, slices.Concat(nats, postgres),
		"the queue chooses and the command decides: it knows no store"},
	{"commands/reactors", []string{"commands", "domain/...", "events", "history", "internal/identity", "internal/logs", "internal/wait", "readmodel"}, slices.Concat(nats, postgres),
		"a reactor turns an event, or time that passed, into a command; delivery belongs to the adapters"},

	{"projections", []string{"domain", "events", "history", "internal/trace", "projections/quarantine", "readmodel", "readmodel/tiers"}, slices.Concat(nats, postgres),
		"a view folds published events alone: a rule of one aggregate used here would make rows depend on code that decides"},
	{"projections/quarantine", []string{"domain", "events", "history", "readmodel"}, slices.Concat(nats, postgres),
		"the runner imports the quarantine, so the quarantine knows no runner"},
	{"projections/rebuild", []string{"domain", "events", "history", "projections", "projections/quarantine", "projections/verify", "readmodel"}, slices.Concat(nats, postgres),
		"a rebuild folds again and compares by verify"},
	{"projections/verify", []string{"domain", "events", "history", "projections", "projections/quarantine", "readmodel"}, slices.Concat(nats, postgres),
		"verify compares the fold with every tier through ports"},
	{"projections/retention", []string{"domain", "events", "history", "internal/files", "projections", "readmodel"}, slices.Concat(nats, postgres),
		"only retention and verify see journal and archive apart"},

	{"infra/natsio", []string{"domain", "events", "internal/logs", "internal/readiness", "internal/redact", "internal/trace"}, postgres,
		"the connection kit knows no port: every NATS adapter stands on it"},
	{"infra/natsio/journal", ports("internal/counted"), postgres, adapter},
	{"infra/natsio/hot", ports(), postgres, adapter},
	{"infra/natsio/feeds", ports("commands"), postgres, adapter},
	{"infra/natsio/quarantine", ports(), postgres, adapter},
	{"infra/natsio/service", ports("commands", "commands/groupcommit", "internal/contract", "internal/trace"), postgres, adapter},
	{"infra/natsio/intake", ports("commands", "commands/reactors", "internal/counted", "internal/trace"), postgres, adapter},
	{"infra/natsio/coordination", ports(), postgres, adapter},
	{"infra/natsio/principals", ports("internal/grants", "internal/identity"), postgres, adapter},
	{"infra/natsio/declared", ports(), postgres, adapter},
	{"infra/natsio/keystore", ports("internal/keys"), postgres, adapter},
	{"infra/natsio/topology", []string{"infra/natsio", "internal/readiness"}, postgres, adapter},
	{"infra/natsio/auth", []string{"internal/files", "internal/identity"}, postgres,
		"keys and accounts know names and subjects, and nothing of what the engine does"},
	{"infra/natsio/gate", []string{"infra/natsio", "infra/natsio/auth", "internal/identity", "internal/logs"}, postgres,
		"the gate decides what of the JetStream API a client reaches, from its account and its grants alone"},
	{"infra/natsio/embedded", []string{"infra/natsio/auth", "internal/files"}, postgres,
		"the embedded server is a server: it knows nothing of the engine but the accounts that it serves"},
	{"infra/pg", []string{"domain", "events", "internal/readiness"}, nats,
		"pool, migrations and errors know no port: every SQL adapter stands on them"},
	{"infra/pg/archive", pgPorts(), nats, adapter},
	{"infra/pg/durable", pgPorts(), nats, adapter},
	{"infra/pg/declared", pgPorts(), nats, adapter},
	{"infra/pg/adhoc", []string{"infra/pg"}, nats,
		"the SQL of people reads tables: it knows nothing of what is in them"},
	{"infra/pg/outbox", pgPorts("commands", "internal/identity", "internal/wait"), nats, adapter},
	{"infra/pg/local", []string{"internal/files"}, nats,
		"the managed server is a process: it knows nothing of the engine"},

	{"internal/contract", nil, pure,
		"the wire contract is declared once: the service's metadata and the reference are made from it"},
	{"internal/counted", nil, pure,
		"a number is written with its noun in one way"},
	{"internal/grants", []string{"internal/wildcard"}, pure,
		"what a principal may do is computed from its grants alone: every door asks it, and the gate"},
	{"internal/wildcard", nil, pure,
		"a pattern matches in one way, in a grant and in a view"},
	{"internal/logs", nil, slices.Concat(nats, postgres),
		"any package may have lines that one cause repeats"},
	{"internal/identity", nil, slices.Concat(nats, postgres),
		"the caller travels in the context: any package may ask who it is"},
	{"internal/keys", []string{"domain", "events"}, slices.Concat(nats, postgres),
		"keys are wrapped, cached and destroyed here; where they are stored belongs to an adapter"},
	{"internal/readiness", nil, slices.Concat(nats, postgres),
		"a component says what prevents its work: any adapter may have to"},
	{"internal/certs", nil, slices.Concat(nats, postgres),
		"TLS of any listener"},
	{"internal/redact", nil, slices.Concat(nats, postgres),
		"a secret is hidden in one way: any package may show a URL"},
	{"internal/origin", nil, slices.Concat(nats, postgres),
		"whether a request comes from this machine is decided in one way: any page may be for it alone"},
	{"internal/files", nil, slices.Concat(nats, postgres),
		"a file is replaced in one way: any package may store one"},
	{"internal/trace", nil, slices.Concat(nats, postgres),
		"the trace context travels in the context, from the headers of a request to its events"},
	{"internal/wait", nil, slices.Concat(nats, postgres),
		"a sleep that a context ends: any package may need it"},
	{"config", nil, pure,
		"what ships inside the program is bytes: the readers read them"},
	{"client", nil, postgres,
		"the SDK stands on the wire contract alone, like a client in another language"},
	{"examples", []string{"client"}, nil,
		"an example shows what a user can do with the wire contract or the SDK alone"},
	{"cmd/engine", []string{"cmd/engine/internal/cli", "cmd/engine/internal/demo", "internal/redact"}, nil,
		"the program is the table of its subcommands"},
	{"cmd/engine/internal/deployment", []string{"domain", "events", "history", "infra/...", "internal/certs", "internal/counted", "internal/files", "internal/grants", "internal/identity", "internal/keys", "internal/readiness", "internal/redact", "internal/wait", "projections/...", "readmodel/..."}, nil,
		"a deployment is an engine seen from outside: it starts none"},
	{"cmd/engine/internal/console", []string{"client", "internal/counted", "internal/origin"}, postgres,
		"the console is a client of the wire contract; what is not on the wire comes from an interface of its own"},
	{"cmd/engine/internal/lifecycle", nil, slices.Concat(nats, postgres),
		"what starts and stops is a function: lifecycle knows no component"},
	{"cmd/engine/internal/resources", []string{"cmd/engine/internal/lifecycle", "infra/natsio", "infra/natsio/embedded", "infra/natsio/service"}, postgres,
		"memory and descriptors are shared out by numbers: resources knows no component"},
	{"cmd/engine/internal/settings", []string{"cmd/engine/internal/deployment", "cmd/engine/internal/resources", "commands", "config", "domain", "domain/agent", "infra/natsio", "infra/natsio/embedded", "infra/natsio/topology", "infra/pg", "internal/certs", "internal/keys", "readmodel"}, nil,
		"a configuration is refused before anything is created or connected: settings starts nothing"},
	{"cmd/engine/internal/httpserver", []string{"internal/certs", "internal/origin"}, slices.Concat(nats, postgres),
		"the listener knows no page: components register theirs"},
	{"cmd/engine/internal/operations", []string{"cmd/engine/internal/console", "cmd/engine/internal/deployment", "infra/natsio", "infra/natsio/gate", "infra/natsio/intake", "infra/natsio/principals", "infra/natsio/quarantine", "infra/natsio/topology", "infra/pg/adhoc", "infra/pg/durable", "infra/pg/local", "internal/counted", "internal/grants", "internal/identity", "projections", "projections/quarantine", "projections/rebuild", "projections/verify"}, nil,
		"operations are done on what an engine hands over: they know no component of it"},
	{"cmd/engine/internal/telemetry", []string{"cmd/engine/internal/console", "cmd/engine/internal/deployment", "commands", "infra/natsio/journal", "infra/pg/declared", "internal/certs", "internal/readiness", "internal/trace", "projections", "projections/verify"}, nil,
		"what is counted or sampled is handed over: telemetry asks no component"},
	{"cmd/engine/internal/servers", []string{"cmd/engine/internal/deployment", "cmd/engine/internal/lifecycle", "cmd/engine/internal/settings", "infra/natsio", "infra/natsio/auth", "infra/natsio/embedded", "infra/natsio/gate", "infra/pg", "infra/pg/local", "internal/identity", "internal/redact", "internal/wait"}, nil,
		"a server is started and connected to: servers knows nothing of what it stores"},
	{"cmd/engine/internal/app", []string{"cmd/engine/internal/console", "cmd/engine/internal/deployment", "cmd/engine/internal/httpserver", "cmd/engine/internal/lifecycle", "cmd/engine/internal/mcp", "cmd/engine/internal/operations", "cmd/engine/internal/resources", "cmd/engine/internal/servers", "cmd/engine/internal/settings", "cmd/engine/internal/telemetry", "commands/...", "config", "domain/...", "events", "history", "infra/...", "internal/...", "projections/...", "readmodel/..."}, nil,
		"the engine is assembled here; it knows no subcommand"},
	{"cmd/engine/internal/mcp", []string{"client", "internal/origin"}, postgres,
		"the MCP server is a client of the wire contract"},
	{"cmd/engine/internal/top", []string{"cmd/engine/internal/deployment"}, postgres,
		"top shows what an engine answers to any client"},
	{"cmd/engine/internal/cli", []string{"client", "cmd/engine/internal/app", "cmd/engine/internal/deployment", "cmd/engine/internal/mcp", "cmd/engine/internal/settings", "cmd/engine/internal/top", "commands/...", "domain", "events", "history", "infra/...", "internal/contract", "internal/counted", "internal/files", "internal/grants", "internal/identity", "internal/keys", "internal/redact", "internal/wait", "projections/..."}, nil,
		"a subcommand reads flags and prints: the work belongs to other packages"},
	{"cmd/engine/internal/reference", []string{"internal/contract"}, slices.Concat(nats, postgres),
		"the reference is rendered from declarations and flags alone"},
	{"cmd/engine/internal/demo", []string{"cmd/engine/internal/app", "cmd/engine/internal/cli", "cmd/engine/internal/deployment", "cmd/engine/internal/settings", "domain", "events", "infra/...", "internal/counted", "internal/wait", "readmodel"}, nil,
		"the demo is a client that can start an engine"},
	{"test", []string{"..."}, nil,
		"tests from outside may look everywhere; no product package imports them"},
}

// ports are what a NATS adapter may import, and more that its row names.
func ports(more ...string) []string {
	return append([]string{"domain", "events", "history", "infra/natsio", "internal/identity", "internal/logs", "internal/readiness", "internal/wait", "projections/...", "readmodel/..."}, more...)
}

// pgPorts is the same for an SQL adapter.
func pgPorts(more ...string) []string {
	return append([]string{"domain", "events", "history", "infra/pg", "internal/readiness", "projections/...", "readmodel/..."}, more...)
}

const adapter = "an adapter implements ports with one technology: adapters never import each other, and no aggregate"

const decider = "an aggregate is decided from its own state alone: no other aggregate, no clock, no randomness, no I/O"

func TestHouse(t *testing.T) {
	pkgs := ours(t)
	for _, v := range violations(house, pkgs) {
		t.Error(v)
	}
	imports := strings.Fields(goList(t, "-deps", "-test", "./..."))
	for _, v := range stale(house, pkgs, imports) {
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

	got := stale(rules, []pkg{p("low"), p("low/x"), p("mid"), p("top")}, []string{"network"})
	want := []string{"net/... matches nothing", "low/y matches nothing"}
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

// stale names the units and forbidden imports of the rules that match nothing.
func stale(rules []rule, pkgs []pkg, imports []string) []string {
	var bad []string
	seen := map[string]bool{}
	look := func(subject string, found bool) {
		if !found && !seen[subject] {
			bad = append(bad, subject+" matches nothing: a slip, or a rule to remove")
		}
		seen[subject] = true
	}
	for _, r := range rules {
		look(r.unit, slices.ContainsFunc(pkgs, func(p pkg) bool {
			to := ruleOf(rules, p.path())
			return to != nil && to.unit == r.unit
		}))
		for _, pattern := range r.not {
			look(pattern, slices.ContainsFunc(imports, func(imp string) bool { return match(pattern, imp) }))
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
