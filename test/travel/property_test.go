package travel

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestStateAtAnyRevisionIsTheFoldOfThePrefix compares every aggregate at every
// revision and every recorded time with the fold of the events before it,
// before and after a trim.
func TestStateAtAnyRevisionIsTheFoldOfThePrefix(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	write(t, c, random)
	c.CaughtUp(t)
	all := readAll(t, c)
	head := all[len(all)-1].Revision
	if head != uint64(len(all)) {
		t.Fatalf("%d events up to %d", len(all), head)
	}
	states, diffs := pickInstants(random, all, 1), pickPairs(random, all, 2)
	checkEvery(t, c, all)
	checkStates(t, e, all, states)
	checkDiffs(t, e, all, diffs)
	forks, forked := forkSome(t, e, c, random, all)

	c.CaughtUp(t)
	if feed, err := c.JS.Stream(t.Context(), "AGENT_STATE"); err != nil {
		t.Fatal(err)
	} else if _, err := feed.GetLastMsgForSubject(t.Context(), "agents.lifecycle."+forked+".forked"); err != nil {
		t.Errorf("the feed does not tell of a fork: %v", err)
	}
	cut := head/2 + random.Uint64N(head/2)
	if r := harness.Run(t, "archive", "trim", "--data", e.Data, "--before", strconv.FormatUint(cut, 10), "--yes"); r.Code != 0 {
		t.Fatalf("trim: %+v", r)
	}
	if left := len(c.Journal(t)); left >= len(all)+forks {
		t.Fatalf("nothing was trimmed up to %d", cut)
	}
	t.Logf("%d events, trimmed up to %d", len(all), cut)
	checkEvery(t, c, all)
	checkStates(t, e, all, states)
	checkDiffs(t, e, all, diffs)
	forkSome(t, e, c, random, all)
}

// checkEvery checks all instants, a few at once.
func checkEvery(t *testing.T, c *harness.Client, all reference) {
	t.Helper()
	instants := make(chan instant)
	var checking sync.WaitGroup
	for range 8 {
		checking.Go(func() {
			for i := range instants {
				all.check(t, c, i)
			}
		})
	}
	for n := range all {
		instants <- instant{revision: all[n].Revision}
		instants <- instant{at: all[n].RecordedAt}
	}
	instants <- instant{at: all[0].RecordedAt.Add(-1)}
	close(instants)
	checking.Wait()
}

// write sends commands of every kind; some lose or are refused.
func write(t *testing.T, c *harness.Client, random *rand.Rand) {
	t.Helper()
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	for _, id := range []string{"x", "y"} { // so that there is one of each kind
		for subject, body := range map[string]harness.M{
			"agent." + id + ".set": {"key": "k", "value": 0}, "config." + id + ".set": {"key": "k", "value": 0},
			"task.t" + id + ".create": {"kind": "k"}, "session.s" + id + ".open": {"owner": "ann"},
		} {
			if _, err := c.Command(t.Context(), "commands."+subject, harness.NewID(), body); err != nil {
				t.Fatalf("%s %v: %v", subject, body, err)
			}
		}
	}
	for range 60 {
		id, key := pick("x", "y"), pick("k", "k.l", "m/n", "z")
		body := harness.M{}
		var subject string
		switch kind := random.IntN(10); {
		case kind < 4:
			subject, body = "agent."+id+".set", harness.M{"key": key, "value": draw(random), "strategy": pick("timestamp", "last_write_wins", "reject")}
		case kind < 5:
			subject, body["key"] = "agent."+id+".delete", key
		case kind < 6:
			subject, body = "config."+id+"."+pick("set", "unset"), harness.M{"key": key}
			if strings.HasSuffix(subject, ".set") {
				body["value"] = draw(random)
			}
		case kind < 7:
			subject = "agent." + id + "." + pick("retire", "hydrate", "flush")
		case kind < 8:
			subject, body = "session.s"+id+".put", harness.M{"key": key, "value": draw(random)}
		default:
			verb := pick("create", "start", "progress", "fail", "complete")
			if subject = "task.t" + id + "." + verb; verb == "create" {
				body["kind"] = "k"
			} else if verb == "start" {
				body["agent_id"] = "x"
			} else if verb == "fail" {
				body["reason"] = "boom"
			}
		}
		_, err := c.Command(t.Context(), "commands."+subject, harness.NewID(), body)
		var r *harness.Refusal
		if err != nil && (!errors.As(err, &r) || r.Status >= 500 || r.Status == 400) {
			t.Fatalf("%s %v: %v", subject, body, err)
		}
	}
}

func draw(random *rand.Rand) json.RawMessage {
	values := []string{
		`1`, `1.0`, `12345678901234567890`, `"a"`, `null`, `[1,2,3]`, `[1,3]`, `{"a":1,"b":{"c":[true]}}`, `{"a":1.50,"b":{}}`, `{"":"/~"}`, `[]`,
	}
	return json.RawMessage(values[random.IntN(len(values))])
}

func pickInstants(random *rand.Rand, all reference, n int) (some []instant) {
	for range n {
		rec := all[random.IntN(len(all))]
		some = append(some, instant{revision: rec.Revision}, instant{at: rec.RecordedAt})
	}
	return some
}

// checkStates compares `replay --state` with the fold, row by row.
func checkStates(t *testing.T, e *harness.Engine, all reference, instants []instant) {
	t.Helper()
	for _, i := range instants {
		got := e.Run("replay", "--state", "--to", i.String())
		if got.Code != 0 || !strings.Contains(got.Stderr, "digest sha256:") {
			t.Fatalf("state at %s: %d %s", i, got.Code, got.Stderr)
		}
		var digests, want []string
		lines := strings.Split(strings.TrimSpace(got.Stdout), "\n")
		for _, line := range lines {
			var row struct {
				Row row `json:"row"`
			}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			digests = append(digests, row.Row.Digest)
		}
		for s, rec := range all.lasts(i) {
			if !dead(rec) && !strings.Contains(string(s), ".conflict.") {
				want = append(want, rec.Digest)
			}
		}
		slices.Sort(digests)
		slices.Sort(want)
		if !slices.Equal(digests, want) || !slices.IsSorted(lines) {
			t.Errorf("state at %s: %d rows, want %d", i, len(digests), len(want))
		}
	}
}

// forkSome forks agents at random instants and returns how many events that
// made, and the last new agent.
func forkSome(t *testing.T, e *harness.Engine, c *harness.Client, random *rand.Rand, all reference) (made int, id string) {
	t.Helper()
	for _, i := range append(pickInstants(random, all, 1), instant{revision: all[len(all)-1].Revision}) {
		id = harness.NewID()
		from := []string{"x", "y"}[random.IntN(2)]
		flag := "--at-revision"
		if i.revision == 0 {
			flag = "--at-time"
		}
		r := e.Run("fork", "agent."+from, "--as", id, flag, i.String())
		want := map[string]json.RawMessage{}
		harness.Must(t, json.Unmarshal(all.document(t, "agent."+from, i), &want))
		if len(want) == 0 {
			if r.Code != 1 || !strings.Contains(r.Stderr, "agent.not_found") {
				t.Errorf("fork of %s as of %s: %+v", from, i, r)
			}
			continue
		}
		if r.Code != 0 {
			t.Fatalf("fork of %s as of %s: %+v", from, i, r)
		}
		made += len(want) + 1
		got := map[string]json.RawMessage{}
		for _, rec := range readAll(t, c).lasts(instant{revision: 1 << 60}) {
			if rec.ID == id && rec.Key != "" {
				got[rec.Key] = value(t, rec)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("fork of %s as of %s: %s\nwant %s", from, i, got, want)
		}
	}
	return made, id
}
