package security

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

var update = flag.Bool("update", false, "write docs/explanation/security-cases.md")

// world is a running engine, what the victim has in it, and who attacks it.
type world struct {
	t         *testing.T
	e         *harness.Engine
	victim    *harness.Client
	admin     *harness.Client // may do everything
	worker    *harness.Client // pulls all tasks; nil = there is none
	account   string          // of the victim, or of the worker; empty in development mode
	operator  *nats.Conn
	attackers []*abuser
	results   results
}

type abuser struct {
	*harness.Client
	name    string
	refused chan error // by the server
	dev     bool
}

// results are what the cases said: by kind, by case, by attacker.
type results map[string]map[string]map[string]string

func (w *world) record(kind, name string, a *abuser, result string) {
	if w.account != "" {
		name = strings.ReplaceAll(name, w.account, "ACCOUNT")
	} else {
		name = strings.ReplaceAll(name, "tm..", "tm.ACCOUNT.")
	}
	if w.results[kind] == nil {
		w.results[kind] = map[string]map[string]string{}
	}
	if w.results[kind][name] == nil {
		w.results[kind][name] = map[string]string{}
	}
	w.results[kind][name][a.name] = result
}

// The agents of the attackers begin with their names; alice's is alice.
const ghost = "ghost" // an agent that is not there

func devWorld(t *testing.T, all results) *world {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	w := &world{t: t, e: e, victim: e.Client(t), operator: e.Operator(t), results: all}
	c, refused := attacker(t, e)
	w.attackers = []*abuser{{c, "development mode", refused, true}}
	w.populate()
	return w
}

// abusers are the principals that attack alice.
var abusers = map[string][]string{
	"norole": {"--role", "none", "--agents", "norole"}, "bob": {"--role", "agent", "--agents", "bob*"},
	"worker": {"--role", "worker", "--agents", "worker"}, "reader": {"--role", "reader", "--agents", "reader*"},
}

func principalsWorld(t *testing.T, all results) *world {
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--auth", "on"}})
	w := &world{t: t, e: e, operator: e.Operator(t), results: all}
	connectAs := func(name string, args ...string) (*harness.Client, chan error) {
		return connect(t, e, addPrincipal(t, e, name, args...))
	}
	w.victim, _ = connectAs("alice", "--role", "agent", "--agents", "alice")
	w.admin, _ = connectAs("root", "--role", "admin")
	var err error
	w.account, err = keys(t, e).Account("alice")
	harness.Must(t, err)
	for _, name := range slices.Sorted(maps.Keys(abusers)) {
		c, refused := connectAs(name, abusers[name]...)
		w.attackers = append(w.attackers, &abuser{c, name, refused, false})
	}
	w.populate()
	return w
}

// externalWorld is the same on an external server.
func externalWorld(t *testing.T, operator bool) *world {
	all := maps.Clone(abusers)
	all["alice"], all["root"] = []string{"--role", "agent", "--agents", "alice"}, []string{"--role", "admin"}
	x := startExternal(t, operator, 1, all)
	w := &world{t: t, e: x.engine(0), results: results{}, account: x.account("alice")}
	file := filepath.Join(x.data, "auth", map[bool]string{true: "engine.creds", false: "engine.nk"}[operator])
	nc, err := nats.Connect(x.url(0), x.credentials(file))
	harness.Must(t, err)
	t.Cleanup(nc.Close)
	w.operator = nc
	w.victim, _ = x.as(0, "alice")
	w.admin, _ = x.as(0, "root")
	for _, name := range slices.Sorted(maps.Keys(abusers)) {
		c, refused := x.as(0, name)
		w.attackers = append(w.attackers, &abuser{c, name, refused, false})
	}
	w.populate()
	return w
}

// addPrincipal adds a principal beside the running engine and returns its credentials.
func addPrincipal(t *testing.T, e *harness.Engine, name string, args ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".creds")
	if r := harness.Run(t, append([]string{"auth", "add", name, "--out", file, "--data", e.Data}, args...)...); r.Code != 0 {
		t.Fatalf("auth add: %s%s", r.Stdout, r.Stderr)
	}
	creds, err := os.ReadFile(file)
	harness.Must(t, err)
	return creds
}

// populate gives the victim something of each kind.
func (w *world) populate() {
	v := w.victim
	v.MustSet(w.t, "alice", "k", "secret-of-alice", nil)
	v.MustDo(w.t, "agent.alice.heartbeat", M{})
	v.MustDo(w.t, "session.alice.open", M{"owner": "alice"})
	v.MustDo(w.t, "config.alice.set", M{"key": "k", "value": "secret-of-alice"})
	v.MustDo(w.t, "message.alice.direct", M{"to": "alice", "body": "secret-of-alice"})
	if w.admin == nil {
		w.admin = v
	}
	w.admin.MustDo(w.t, "task.t-alice.create", M{"kind": "secret-of-alice", "agent_id": "alice"})
	w.admin.MustDo(w.t, "claim.alice.acquire", M{"owner": "alice", "data": "secret-of-alice"})
	w.admin.MustDo(w.t, "view.alice.define", M{"from": "state", "agents": "alice", "columns": M{"k": M{"path": "/value", "type": "text"}}})
	w.admin.CaughtUp(w.t)
}

// sequences are the ends of the engine's streams, but the audit's, which grows with
// refusals, and the leases', which the engine renews.
func (w *world) sequences() string {
	w.t.Helper()
	m, err := w.operator.Request("$JS.API.STREAM.LIST", nil, harness.Patience)
	harness.Must(w.t, err)
	var list struct {
		Streams []struct {
			Config struct{ Name string }
			State  struct {
				Messages int    `json:"messages"`
				Last     uint64 `json:"last_seq"`
			}
		}
	}
	harness.Must(w.t, json.Unmarshal(m.Data, &list))
	var all []string
	for _, s := range list.Streams {
		if s.Config.Name == "OUTCOMES" {
			all = append(all, "OUTCOMES "+w.outcomes())
		} else if s.Config.Name != "AUDIT" && s.Config.Name != "KV_TIDEMARK_LEASES" {
			all = append(all, fmt.Sprintf("%s %d/%d", s.Config.Name, s.State.Messages, s.State.Last))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// unchanged runs attacks after which no stream of the engine may have changed.
func (w *world) unchanged(kind string, attacks func(a *abuser)) {
	w.t.Helper()
	for _, a := range w.attackers {
		before := w.sequences()
		attacks(a)
		harness.Must(w.t, a.Flush())
		_, err := a.Request("queries.engine.status", nil, harness.Patience) // behind what was sent before
		harness.Mustf(w.t, err, "%s is not answered after: %s", a.name, kind)
		if after := w.sequences(); after != before {
			w.t.Errorf("%s, %s: the streams were\n%s\nand are\n%s", a.name, kind, before, after)
		}
	}
}

// outcomes are the subjects of all outcomes, but those of the commands by which the engine
// finds out whether the accounts of an external server reach it.
func (w *world) outcomes() string {
	w.t.Helper()
	m, err := w.operator.Request("$JS.API.STREAM.INFO.OUTCOMES", []byte(`{"subjects_filter":">"}`), harness.Patience)
	harness.Must(w.t, err)
	var info struct {
		State struct{ Subjects map[string]int }
	}
	harness.Must(w.t, json.Unmarshal(m.Data, &info))
	maps.DeleteFunc(info.State.Subjects, func(subject string, _ int) bool { return strings.Contains(subject, ".outcomes.probe-") })
	return fmt.Sprint(info.State.Subjects)
}

// status is what a reply says: its error's code, "" for success, "unheard" without one.
func status(m *nats.Msg, err error) (code, text string) {
	if err != nil {
		return "unheard", err.Error()
	}
	if code := m.Header.Get("Nats-Service-Error-Code"); code != "" {
		return code, string(m.Data)
	}
	if code := m.Header.Get("Status"); code != "" {
		return code, m.Header.Get("Description")
	}
	var js struct{ Error *struct{ Code int } }
	if json.Unmarshal(m.Data, &js) == nil && js.Error != nil && js.Error.Code != 0 {
		return fmt.Sprint(js.Error.Code), string(m.Data)
	}
	return "", string(m.Data)
}

// TestAbuse tries what must not be possible, with clients without credentials, with
// principals of four roles, and with principals of a few grants. docs/explanation/security-cases.md lists the cases.
func TestAbuse(t *testing.T) {
	all, ran := results{}, 0
	t.Run("development mode", func(t *testing.T) {
		w := devWorld(t, all)
		for name, do := range map[string]func(){"api": w.api, "publishes": w.publishes, "listens": w.listens} {
			t.Log(name)
			do()
		}
		w.intact()
		ran++
	})
	t.Run("principals", func(t *testing.T) {
		principalsWorld(t, all).everything()
		ran++
	})
	t.Run("narrow grants", func(t *testing.T) {
		narrowWorld(t, all).around()
		ran++
	})
	for name, operator := range map[string]bool{"external server": false, "external server in operator mode": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait for what must not come
			externalWorld(t, operator).everything()
		})
	}
	if t.Failed() || ran < 3 { // a part of it was run
		return
	}
	page(t, all)
}

// everything is what principals try.
func (w *world) everything() {
	w.t.Helper()
	for _, step := range []struct {
		name string
		do   func()
	}{{"doors", w.doors}, {"headers", w.headers}, {"api", w.api}, {"reads", w.reads}, {"publishes", w.publishes}, {"listens", w.listens}} {
		w.t.Log(step.name)
		step.do()
	}
	w.intact()
}

// intact compares what the victim has with what it had.
func (w *world) intact() {
	w.t.Helper()
	if got := w.victim.MustGet(w.t, "alice", "k", M{"consistency": "strong"}); string(got.Value) != `"secret-of-alice"` {
		w.t.Errorf("the victim's entry is %s", got)
	}
	w.e.Verify()
}

// page compares the page of cases with what was tried.
func page(t *testing.T, all results) {
	t.Helper()
	var b strings.Builder
	total := 0
	b.WriteString("# Cases of abuse\n\nWhat `test/security` has tried on a running engine. What was tried as\nprincipals was also tried on external servers, in both modes of accounts. The test `TestAbuse` writes this\npage (`go test ./test/security -run TestAbuse -update`) and fails when it differs.\n\n")
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "## %s\n\n| case | tried as | answer |\n|---|---|---|\n", kind)
		for _, name := range slices.Sorted(maps.Keys(all[kind])) {
			byAnswer := map[string][]string{}
			for _, who := range slices.Sorted(maps.Keys(all[kind][name])) {
				answer := all[kind][name][who]
				byAnswer[answer] = append(byAnswer[answer], who)
				total++
			}
			for _, answer := range slices.Sorted(maps.Keys(byAnswer)) {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ReplaceAll(strings.ReplaceAll(name, "|", `\|`), "`", "'"), strings.Join(byAnswer[answer], ", "), answer)
			}
		}
		b.WriteString("\n")
	}
	t.Logf("%d cases", total)
	file := filepath.Join("..", "..", "docs", "explanation", "security-cases.md")
	if *update {
		harness.Must(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	if was, err := os.ReadFile(file); err != nil || string(was) != b.String() {
		t.Errorf("%s is not what was tried: run the test with -update (%v)", file, err)
	}
}
