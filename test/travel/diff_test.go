package travel

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// pair is the two instants of a diff.
type pair struct {
	name     string
	from, to instant
}

func pickPairs(random *rand.Rand, all reference, n int) (pairs []pair) {
	for _, noun := range []string{"agent.", "config.", "task.", "session."} {
		names := slices.DeleteFunc(all.names(), func(name string) bool { return !strings.HasPrefix(name, noun) })
		for i := range n {
			a, b := random.IntN(len(all)), random.IntN(len(all))
			from, to := &all[min(a, b)], &all[max(a, b)]
			p := pair{names[random.IntN(len(names))], instant{revision: from.Revision}, instant{revision: to.Revision}}
			if i%2 == 1 {
				p.from, p.to = instant{at: from.RecordedAt}, instant{at: to.RecordedAt}
			}
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// checkDiffs: the patch turns the state at the first instant into that at the
// second, and the events are those between them.
func checkDiffs(t *testing.T, e *harness.Engine, all reference, pairs []pair) {
	t.Helper()
	for _, p := range pairs {
		before, after := all.document(t, p.name, p.from), all.document(t, p.name, p.to)
		r := e.Run("diff", p.name, "--from", p.from.String(), "--to", p.to.String(), "--json")
		var got struct {
			Patch  json.RawMessage `json:"patch"`
			Events []struct {
				Revision uint64 `json:"revision"`
			} `json:"events"`
		}
		if err := json.Unmarshal([]byte(r.Stdout), &got); r.Code != 0 && !strings.Contains(r.Stdout, "not_found") || err != nil {
			t.Fatalf("%+v: %d %s %s %v", p, r.Code, r.Stdout, r.Stderr, err)
		}
		if r.Code != 0 {
			if string(after) != "{}" {
				t.Errorf("%+v: %s", p, r.Stderr)
			}
			continue
		}
		patch, err := jsonpatch.DecodePatch(got.Patch)
		if err == nil {
			before, err = patch.Apply(before)
		}
		if err != nil || !reflect.DeepEqual(numbers(t, before), numbers(t, after)) {
			t.Errorf("%+v: %s\nleads to %s, %v\nwant     %s", p, got.Patch, before, err, after)
		}
		var revisions []uint64
		for _, ev := range got.Events {
			revisions = append(revisions, ev.Revision)
		}
		if want := all.between(p); !slices.Equal(revisions, want) {
			t.Errorf("%+v: caused by %v, want %v", p, revisions, want)
		}
	}
}

func numbers(t *testing.T, b []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return v
}

// document returns the state of an aggregate as one object.
func (r reference) document(t *testing.T, name string, i instant) json.RawMessage {
	noun, id, _ := strings.Cut(name, ".")
	state := map[string]json.RawMessage{}
	for s, rec := range r.lasts(i) {
		switch {
		case rec.Aggregate != noun || rec.ID != id || dead(rec) || strings.Contains(string(s), ".conflict.") || s == events.Lifecycle(id):
		case rec.Key == "":
			return value(t, rec)
		default:
			state[rec.Key] = value(t, rec)
		}
	}
	b, err := json.Marshal(state)
	harness.Must(t, err)
	return b
}

// between returns the revisions of the events that explain a diff: those of
// entries that appeared and disappeared in between explain none.
func (r reference) between(p pair) (revisions []uint64) {
	noun, id, _ := strings.Cut(p.name, ".")
	before, after := r.lasts(p.from), r.lasts(p.to)
	for i := range r {
		rec := &r[i]
		if rec.Aggregate != noun || rec.ID != id || strings.Contains(string(rec.Name), ".conflict.") || noun == "agent" && rec.Key == "" ||
			!p.to.includes(rec) || p.from.includes(rec) || dead(before[rec.Name]) && dead(after[rec.Name]) {
			continue
		}
		revisions = append(revisions, rec.Revision)
	}
	return revisions
}
