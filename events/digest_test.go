package events_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/events"
)

// chained computes the digest from the stored bytes: SHA-256 over the previous
// digest's text and the canonical form of the event without its digest.
func chained(t testing.TB, previous string, stored []byte) string {
	t.Helper()
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(stored, &doc); err != nil {
		t.Fatal(err)
	}
	delete(doc, "digest")
	rest, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append([]byte(previous), canonical(t, rest)...))
	return hex.EncodeToString(sum[:])
}

func TestChainIsTheContracts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		previous := ""
		for range rapid.IntRange(1, 3).Draw(rt, "events") {
			ev := drawEvent(rt)
			digest, err := events.Chain(previous, &ev)
			if err != nil {
				rt.Fatal(err)
			}
			ev.Digest = "not of the form it is computed from"
			if again, _ := events.Chain(previous, &ev); again != digest {
				rt.Fatalf("the digest enters itself: %s, %s", digest, again)
			}
			if want := chained(t, previous, ev.Encode()); digest != want {
				rt.Fatalf("%s\n got %s\nwant %s", ev.Encode(), digest, want)
			}
			previous = digest
		}
	})
}

func TestChainTellsEveryChange(t *testing.T) {
	ev := events.Event{
		Type: "t", Aggregate: "agent", ID: "a", Key: "k", Version: 1, Timestamp: when, RecordedAt: when, Writer: "w",
		CommandID: "c", Data: []byte(`{"value":1}`), State: []byte(`{}`), Schema: 1,
	}
	first, err := events.Chain("", &ev)
	if err != nil || len(first) != 64 || strings.ToLower(first) != first {
		t.Fatalf("%q, %v", first, err)
	}
	seen := map[string]string{first: "nothing"}
	for what, change := range map[string]func(*events.Event){
		"type": func(e *events.Event) { e.Type = "u" }, "aggregate": func(e *events.Event) { e.Aggregate = "task" },
		"id": func(e *events.Event) { e.ID = "b" }, "key": func(e *events.Event) { e.Key = "l" },
		"no key": func(e *events.Event) { e.Key = "" }, "version": func(e *events.Event) { e.Version++ },
		"timestamp":   func(e *events.Event) { e.Timestamp = e.Timestamp.Add(1) },
		"recorded_at": func(e *events.Event) { e.RecordedAt = e.RecordedAt.Add(1) },
		"writer":      func(e *events.Event) { e.Writer = "" }, "command": func(e *events.Event) { e.CommandID = "d" },
		"data": func(e *events.Event) { e.Data = []byte(`{"value":2}`) }, "state": func(e *events.Event) { e.State = nil },
		"schema": func(e *events.Event) { e.Schema = 2 },
	} {
		other := ev
		change(&other)
		digest, err := events.Chain("", &other)
		if err != nil || seen[digest] != "" {
			t.Errorf("%s: the digest is that of %s (%v)", what, seen[digest], err)
		}
		seen[digest] = what
	}
	if digest, err := events.Chain(first, &ev); err != nil || seen[digest] != "" {
		t.Errorf("previous: the digest is that of %s (%v)", seen[digest], err)
	}
	same := ev
	same.Data = []byte("{ \"value\" : 1.0 }")
	if digest, err := events.Chain("", &same); err != nil || digest != first {
		t.Errorf("white space and 1.0 for 1 change the digest (%v)", err)
	}
}

func TestChainRefusesWhatIsNoJSON(t *testing.T) {
	for _, bad := range []string{`{`, `{"a":1,"a":2}`, "\"\xff\"", `"\ud800"`, `1 2`} {
		ev := events.Event{Type: "t", Data: []byte(bad)}
		if digest, err := events.Chain("", &ev); err == nil {
			t.Errorf("%q has the digest %s", bad, digest)
		}
	}
}

var when = time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)

func drawEvent(t *rapid.T) events.Event {
	name := rapid.StringMatching(`[a-zA-Z0-9_-]{1,8}`)
	ev := events.Event{
		Type: name.Draw(t, "type"), Aggregate: name.Draw(t, "aggregate"), ID: name.Draw(t, "id"),
		Key: rapid.StringMatching(`[a-z=/.-]{0,6}`).Draw(t, "key"), Version: rapid.Uint64Min(1).Draw(t, "version"),
		Timestamp:  time.Unix(rapid.Int64Range(-60_000_000_000, 200_000_000_000).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
		RecordedAt: when, Writer: rapid.String().Draw(t, "writer"), CommandID: name.Draw(t, "command"),
		Data: []byte(drawJSON(t, 3)), Schema: events.Schema,
	}
	if rapid.Bool().Draw(t, "with state") {
		ev.State = []byte(drawJSON(t, 2))
	}
	return ev
}

// drawJSON draws a text with white space, odd numbers and escapes in it.
func drawJSON(t *rapid.T, depth int) string {
	space := rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, "space")
	kind := rapid.IntRange(0, 4).Draw(t, "kind")
	if depth == 0 {
		kind %= 3
	}
	switch kind {
	case 0:
		return space + rapid.SampledFrom([]string{
			"0", "-0", "1.50", "1e2", "1E+2", "-1e-7", "12345678901234567890", "0.1000", "5e-324", "9e308", "1e21", "null", "true",
		}).Draw(t, "scalar")
	case 1:
		return space + rapid.SampledFrom([]string{
			`""`, `"\u0041\/"`, `"é\u00e9"`, `"\ud83d\ude00"`, `"\n\u000a"`, `"<&>"`, `"\u2028"`,
		}).Draw(t, "escaped")
	case 2:
		text, _ := json.Marshal(rapid.String().Draw(t, "string"))
		return space + string(text)
	case 3:
		return space + "[" + drawJSON(t, depth-1) + "," + space + drawJSON(t, depth-1) + "]"
	}
	return space + `{"b"` + space + ":" + drawJSON(t, depth-1) + `,"a":` + drawJSON(t, depth-1) + `,"\ud83d\ude00":1,"\ufb33":2}`
}
