// Package verify_test changes rows, keys, archived events and journal messages
// outside the engine, and tests that `engine verify` and the audit name and
// repair them.
package verify_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/projections/verify"
	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type M = harness.M

// world is an engine, a client, and an SQL connection.
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
	Differences []verify.Difference `json:"differences"`
	Repaired    []verify.Difference `json:"repaired"`
	Sample      *struct {
		Checked   int   `json:"checked"`
		Unsettled []any `json:"unsettled"`
	} `json:"sample"`
	Archive *verify.Counts `json:"archive"`
}

func (w *world) verify(args ...string) report {
	w.t.Helper()
	got := w.Run("verify", append(args, "--json")...)
	r := report{Code: got.Code}
	if err := json.NewDecoder(strings.NewReader(got.Stdout)).Decode(&r); err != nil {
		w.t.Fatalf("verify %v printed %s%s: %v", args, got.Stdout, got.Stderr, err)
	}
	if (r.Code == 0) != (len(r.Differences) == 0) || r.Code > 1 {
		w.t.Errorf("verify %v ended with %d and reports %d differences", args, r.Code, len(r.Differences))
	}
	return r
}

// names returns the places of differences, each once.
func names(all []verify.Difference) []string {
	var got []string
	for _, d := range all {
		got = append(got, d.Tier+" "+d.Key)
	}
	slices.Sort(got)
	return slices.Compact(got)
}

// expect checks that the differences have exactly these places.
func (w *world) expect(what string, got []verify.Difference, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if g := names(got); !slices.Equal(g, want) {
		w.t.Errorf("%s: got\n%s\nwant\n%s\n%+v", what, strings.Join(g, "\n"), strings.Join(want, "\n"), got)
	}
}

// exec runs an SQL statement that must change rows.
func (w *world) exec(q string) {
	w.t.Helper()
	if harness.Exec(w.t, w.sql, q) == 0 {
		w.t.Fatalf("%s: no row changed", q)
	}
}

func (w *world) kv(bucket string) jetstream.KeyValue {
	w.t.Helper()
	kv, err := w.OperatorJetStream(w.t).KeyValue(w.t.Context(), bucket)
	harness.Must(w.t, err)
	return kv
}

// journal is the journal's stream with the engine's own rights.
func (w *world) journal() jetstream.Stream {
	w.t.Helper()
	s, err := w.OperatorJetStream(w.t).Stream(w.t.Context(), "EVENTS")
	harness.Must(w.t, err)
	return s
}

// takeOut removes the first event of a stream from the journal.
func (w *world) takeOut(stream string) (revision uint64) {
	w.t.Helper()
	revision = w.revision(stream, 1)
	err := w.journal().Purge(w.t.Context(), jetstream.WithPurgeSubject("events."+stream), jetstream.WithPurgeSequence(revision+1))
	harness.Must(w.t, err)
	return revision
}

// metric returns one value of /metrics.
func (w *world) metric(ctx context.Context, name string) string {
	w.t.Helper()
	for line := range strings.SplitSeq(w.Metrics(ctx), "\n") {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return value
		}
	}
	return ""
}
