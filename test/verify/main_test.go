// Package verify_test spoils rows, keys, archived events and the journal itself
// behind a running engine's back, and lets `engine verify` and the auditor name
// and repair them.
package verify_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		harness.Clean()
		os.Exit(code)
	}))
}

type M = harness.M

// world is an engine, and what looks at it and spoils it.
type world struct {
	*harness.Engine
	t   *testing.T
	c   *harness.Client
	sql *pgx.Conn
}

func start(t *testing.T, env ...string) *world {
	t.Helper()
	e := harness.Start(t, harness.Config{Env: append(env, "TIDEMARK_LIFECYCLE=manual")})
	w := &world{Engine: e, t: t, c: e.Client(t)}
	w.sql = w.c.SQL(t)
	return w
}

// report is what verify prints as JSON.
type report struct {
	Code        int
	Differences []projections.Difference `json:"differences"`
	Repaired    []projections.Difference `json:"repaired"`
	Sample      *struct {
		Checked   int   `json:"checked"`
		Unsettled []any `json:"unsettled"`
	} `json:"sample"`
	Archive *projections.Counts `json:"archive"`
}

func (w *world) verify(args ...string) report {
	w.t.Helper()
	got := w.Run("verify", append(args, "--json")...)
	r := report{Code: got.Code}
	if err := json.NewDecoder(strings.NewReader(got.Stdout)).Decode(&r); err != nil {
		w.t.Fatalf("verify %v printed %s%s: %v", args, got.Stdout, got.Stderr, err)
	}
	if (r.Code == 0) != (len(r.Differences) == 0) || r.Code > 1 {
		w.t.Errorf("verify %v ended with %d and tells of %d differences", args, r.Code, len(r.Differences))
	}
	return r
}

// names are the places of differences, each once.
func names(all []projections.Difference) []string {
	var got []string
	for _, d := range all {
		got = append(got, d.Tier+" "+d.Key)
	}
	slices.Sort(got)
	return slices.Compact(got)
}

// expect asks for exactly these places.
func (w *world) expect(what string, got []projections.Difference, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if g := names(got); !slices.Equal(g, want) {
		w.t.Errorf("%s: got\n%s\nwant\n%s\n%+v", what, strings.Join(g, "\n"), strings.Join(want, "\n"), got)
	}
}

// do is a command that must be accepted.
func (w *world) do(subject string, body any) harness.Receipt {
	w.t.Helper()
	r, err := w.c.Command(w.t.Context(), "commands."+subject, harness.NewID(), body)
	if err != nil || r.Outcome != "accepted" {
		w.t.Fatalf("%s %v: %+v %v", subject, body, r, err)
	}
	return r
}

func (w *world) exec(q string) {
	w.t.Helper()
	if tag, err := w.sql.Exec(w.t.Context(), q); err != nil || tag.RowsAffected() == 0 {
		w.t.Fatalf("%s: %s %v", q, tag, err)
	}
}

func (w *world) kv(bucket string) jetstream.KeyValue {
	w.t.Helper()
	kv, err := w.c.JS.KeyValue(w.t.Context(), bucket)
	if err != nil {
		w.t.Fatal(err)
	}
	return kv
}

// operator is JetStream with the engine's own rights.
func (w *world) operator() jetstream.JetStream {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.Data, "operator.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	var o struct{ User, Password string }
	if err := json.Unmarshal(text, &o); err != nil {
		w.t.Fatal(err)
	}
	nc, err := nats.Connect(w.NATSURL, nats.UserInfo(o.User, o.Password))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		w.t.Fatal(err)
	}
	return js
}

// journal is the journal's stream with the engine's own rights.
func (w *world) journal() jetstream.Stream {
	w.t.Helper()
	s, err := w.operator().Stream(w.t.Context(), "EVENTS")
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// takeOut removes the first event of a stream from the journal.
func (w *world) takeOut(stream string) (revision uint64) {
	w.t.Helper()
	revision = w.revision(stream, 1)
	err := w.journal().Purge(w.t.Context(), jetstream.WithPurgeSubject("events."+stream), jetstream.WithPurgeSequence(revision+1))
	if err != nil {
		w.t.Fatal(err)
	}
	return revision
}

// metric is one of /metrics.
func (w *world) metric(ctx context.Context, name string) string {
	w.t.Helper()
	for line := range strings.SplitSeq(w.Metrics(ctx), "\n") {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return value
		}
	}
	return ""
}

const level = 20 * time.Second
