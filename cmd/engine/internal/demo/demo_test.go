package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/readmodel"
)

func TestScript(t *testing.T) {
	if n := scriptLength(); n != 25 {
		t.Errorf("an agent sends %d commands, the flag's help says 25", n)
	}
	last := ""
	for _, m := range script {
		if m.key != "" {
			last = m.key
		}
		if m.wins < max(m.racers, 1) && m.loss == "" {
			t.Errorf("%s %s: what becomes of the losers?", m.verb, m.key)
		}
	}
	if keys := scriptKeys(); keys[0] == last {
		t.Errorf("%s is both the first key and the one written last: see reader.firsts", last)
	}
}

func TestReadRunsKeepsBytes(t *testing.T) {
	const value = `{ "a" : 1.50,  "b":"\u00e9é\n" }`
	runs, err := readRuns(strings.NewReader(
		`{"source":"x/a.traj","step":0,"thought":` + value + `,"other":1}` + "\n\n" +
			`{"source":"x/b.traj","step":0,"exit":null}` + "\n" +
			`{"source":"x/a.traj","step":1,"action":"ls","environment":"e"}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 2 || len(runs[0].steps) != 2 || runs[0].steps[1].line != 4 {
		t.Fatalf("got %d runs, the first %+v", len(runs), runs[0])
	}
	if got := runs[0].steps[0].fields; len(got) != 1 || string(got[0].value) != value {
		t.Errorf("got %s, want %s", got, value)
	}
	if got := runs[1].steps[0].fields; len(got) != 1 || string(got[0].value) != "null" {
		t.Errorf("null is a value: got %s", got)
	}
}

func TestReadRunsErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "no step"},
		{`{"source":"a","step":0,"thought":"t"}` + "\n{torn", "line 2: "},
		{`{"step":0,"thought":"t"}`, `line 1: "source"`},
		{`{"source":"a","step":"x","thought":"t"}`, `line 1: "step"`},
		{`{"source":"a","thought":"t"}`, `line 1: "step"`},
		{`{"source":"a","step":1}`, "line 1: it has none of"},
	} {
		if _, err := readRuns(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

func TestNameAgents(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, c := range []struct {
		sources []string
		suffix  string
		want    []string // "" = any
	}{
		{[]string{"d/ctf/eps.traj", "d/ctf/web/i_got.id.traj"}, "", []string{"eps", "i_got-id"}},
		{[]string{"d/one__v1/r.traj", "d/one__v2.5/r.traj"}, "", []string{"r-1", "r-2-5"}},
		{[]string{"d/a.traj"}, "two", []string{"a-two"}},
		{[]string{"a b", "a-b", "kv"}, "", []string{"a-b", "a-b-" + shortHash("a-b"), "kv-" + shortHash("kv")}},
		{[]string{long + "/a", long + "1/a", long}, "again", []string{"", "", ""}},
	} {
		var runs []*agentRun
		for _, s := range c.sources {
			runs = append(runs, &agentRun{source: s})
		}
		if err := nameAgents(runs, c.suffix); err != nil {
			t.Errorf("%.40q: %v", c.sources, err)
		}
		seen := map[string]bool{}
		for i, r := range runs {
			if c.want[i] != "" && r.agent != c.want[i] {
				t.Errorf("%q: got %q, want %q", r.source, r.agent, c.want[i])
			}
			if seen[r.agent] {
				t.Errorf("%q is the id of two runs", r.agent)
			}
			seen[r.agent] = true
		}
	}
}

func TestGlimpse(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{`"plain"`, "plain"},
		{`"two\nlines\n"`, "two⏎lines"},
		{`"\u001b[31mred\u0007\u202e"`, "·[31mred··"},
		{`"a\t \u00a0 b"`, "a b"},
		{`{"a": 1}`, `{"a": 1}`},
		{`"0123456789abc"`, "0123456789…"},
		{`"0123456789"`, "0123456789"},
	} {
		if got := glimpse(json.RawMessage(c.value), 10); got != c.want {
			t.Errorf("%s: got %q, want %q", c.value, got, c.want)
		}
	}
}

func TestDiffer(t *testing.T) {
	entry := func(version uint64, value string) readmodel.Entry {
		return readmodel.Entry{Agent: "a", Key: "k", Version: version, Revision: version, Value: []byte(value), Digest: "d"}
	}
	want := rows{"a.k": entry(2, `{"x": 1}`), "a.l": entry(1, "1")}
	for _, c := range []struct {
		name string
		got  rows
		what string // of the only difference; "" = none
	}{
		{"equal", rows{"a.k": entry(2, `{"x": 1}`), "a.l": entry(1, "1")}, ""},
		{"missing", rows{"a.k": entry(2, `{"x": 1}`)}, "a.l: is missing"},
		{"one byte", rows{"a.k": entry(2, `{"x":1}`), "a.l": entry(1, "1")}, "a.k: 7 bytes, 8 expected, different from byte 5"},
		{"stale", rows{"a.k": entry(1, `{"x": 1}`), "a.l": entry(1, "1")}, "a.k: version 1 at revision 1"},
		{"too much", rows{"a.k": entry(2, `{"x": 1}`), "a.l": entry(1, "1"), "a.m": entry(1, "1")}, "a.m: exists"},
	} {
		all := differ("kv", want, c.got)
		if c.what == "" && len(all) == 0 && want.digest() == c.got.digest() {
			continue
		}
		if len(all) != 1 || !strings.HasPrefix(all[0].Key+": "+all[0].What, c.what) || want.digest() == c.got.digest() {
			t.Errorf("%s: got %+v, want %q", c.name, all, c.what)
		}
	}
}

// The demo starts its own engine, and a second run continues with its data.
func TestDemo(t *testing.T) {
	t.Setenv("TIDEMARK_POSTGRES", "off")
	t.Setenv("TIDEMARK_NATS_LISTEN", "127.0.0.1:0")
	t.Setenv("TIDEMARK_HTTP", "127.0.0.1:0")
	t.Setenv("TIDEMARK_DURABILITY", "relaxed")
	t.Setenv("NATS_URL", "")
	dir := filepath.Join(t.TempDir(), "data")
	demo := func(args ...string) []byte {
		t.Helper()
		var out bytes.Buffer
		var table struct {
			Demo Demo `cmd:""`
		}
		k, err := kong.New(&table, kong.BindTo(t.Context(), (*context.Context)(nil)), kong.Bind(&cli.Output{Writer: &out, AsJSON: true}, cli.Version("0")))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := k.Parse(append([]string{"demo", "--data", dir, "--json"}, args...))
		if err != nil {
			t.Fatal(err)
		}
		if err := parsed.Run(); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		return out.Bytes()
	}
	for range 2 {
		var r tourResult
		if err := json.Unmarshal(demo("--agents", "6"), &r); err != nil {
			t.Fatal(err)
		}
		want := map[string]int{"accepted": 96, "superseded": 18, "rejected": 30, "replayed": 6}
		if fmt.Sprint(r.Outcomes) != fmt.Sprint(want) || !r.Equal || r.Tiers[0].Entries != 30 || r.Tiers[0].Digest != r.Tiers[3].Digest {
			t.Errorf("got %+v", r)
		}
	}
	file := filepath.Join(t.TempDir(), "runs.jsonl")
	var text strings.Builder
	for step := range 5 {
		for agent := range 3 {
			fmt.Fprintf(&text, `{"source":"s/%d.traj","step":%d,"thought":"it's %d <&> \u001b[1m","state":{ "n": %d.0 }}`+"\n", agent, step, step, step)
		}
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var r runsResult
		if err := json.Unmarshal(demo("--input", file), &r); err != nil {
			t.Fatal(err)
		}
		if !r.Equal || r.Versions != 30 || len(r.Agents) != 3 || r.Tiers[0].Entries != 6 {
			t.Errorf("got %+v", r)
		}
	}

	foreign := t.TempDir()
	for _, kept := range []string{foreign, filepath.Join(foreign, "none")} {
		if err := (&Demo{Target: deployment.Target{Data: kept}}).clean(&cli.Output{Writer: io.Discard}); err == nil {
			t.Errorf("%s was removed, which no demo has made", kept)
		}
	}
	unlock, err := deployment.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	clean := func() error {
		return (&Demo{Target: deployment.Target{Data: dir}}).clean(&cli.Output{Writer: io.Discard})
	}
	if err := clean(); err == nil {
		t.Error("the data of an engine that runs were removed")
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	demo("--clean")
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data of the demo are still there: %v", err)
	}
	if err := errors.Join(os.Mkdir(dir, 0o700), deployment.MarkDemo(dir), deployment.KeepData(dir)); err != nil {
		t.Fatal(err)
	}
	if err := clean(); err == nil {
		t.Error("data that engine serve has used were removed")
	}
}
