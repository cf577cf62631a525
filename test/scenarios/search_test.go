package scenarios

import (
	"encoding/json"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestSearch: the page of the documentation holds; a search sees every acknowledged
// write, and only keys that --search names; without the flag it is refused.
func TestSearch(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--search"}})
	e.RunPage(t, "docs/howto/search.md")
	c := e.Client(t)
	type answer struct {
		Entries []struct {
			AgentID string `json:"agent_id"`
			Key     string
		}
		Cursor, Token string
	}
	find := func(body M) (a answer, err error) {
		got, err := c.Query(t.Context(), "queries.state.find", body)
		if err == nil {
			err = json.Unmarshal(got, &a)
		}
		return a, err
	}
	for i := range 50 { // each is found at once, and a changed or deleted one no longer
		n := i % 5
		c.MustSet(t, "s", "n."+string(rune('a'+n)), M{"round": i}, nil)
		if a, err := find(M{"contains": M{"round": i}}); err != nil || len(a.Entries) != 1 {
			t.Fatalf("round %d: %+v %v", i, a, err)
		}
		if a, err := find(M{"contains": M{"round": i - 5}}); err != nil || len(a.Entries) != 0 {
			t.Fatalf("round %d, the value before: %+v %v", i, a, err)
		}
	}
	seen := 0
	for cursor, pages := "", 0; ; pages++ {
		body := M{"key_prefix": "n.", "limit": 2}
		if cursor != "" {
			body["cursor"] = cursor
		}
		a, err := find(body)
		harness.Must(t, err)
		seen += len(a.Entries)
		if cursor = a.Cursor; cursor == "" {
			break
		}
	}
	if seen != 5 {
		t.Errorf("pages of %d entries", seen)
	}
	e.Kill()
	e.Launch("--search", "order.")
	e.Await()
	c = e.Client(t)
	if a, err := find(M{"contains": M{"city": "Rome"}}); err != nil || len(a.Entries) != 1 {
		t.Errorf("a key that is searched: %+v %v", a, err)
	}
	if a, err := find(M{"contains": M{"round": 49}}); err != nil || len(a.Entries) != 0 {
		t.Errorf("a key that is not searched: %+v %v", a, err)
	}
	_, err := find(M{"key": "n.a"})
	harness.WantRefusal(t, "a key that is not searched, by name", err, 422, "search.off")
	e.Verify()
	e.Kill()
	e.Launch("--search=off")
	e.Await()
	c = e.Client(t)
	_, err = find(M{})
	harness.WantRefusal(t, "without the flag", err, 422, "search.off")
}
