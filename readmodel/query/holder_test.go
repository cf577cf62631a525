package query_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// TestHoldersSeeTheirTime: who holds a task or a claim now does not see it as others held it.
func TestHoldersSeeTheirTime(t *testing.T) {
	h := journaltest.History(t, 1)
	var all []grants.Grant
	for _, text := range []string{"query task:* when holder", "query claim:* when holder"} {
		g, err := grants.Parse(text)
		harness.Must(t, err)
		all = append(all, g)
	}
	q := &query.Query{Tiers: &tiers.Tiers{}, Rows: query.Rows{History: h}, Authority: only{grants.NewSet("bob-*", all...)}}
	holders := []string{"bob-1", "alice", "bob-2", "alice", "alice", "bob-1"}
	last := uint64(0)
	for aggregate, typ := range map[string]string{"task": events.TaskStarted, "claim": events.ClaimAcquired} {
		name := map[string]events.AggregateName{"task": events.Task("x"), "claim": events.Claim("x")}[aggregate]
		first, after := last+1, uint64(0)
		for i, holder := range holders {
			state := fmt.Sprintf(`{"status":"started","agent_id":%q,"note":"of %[1]s"}`, holder)
			if aggregate == "claim" {
				state = fmt.Sprintf(`{"status":"held","owner":%q,"data":"of %[1]s"}`, holder)
			}
			ev := events.Event{Type: typ, Aggregate: aggregate, ID: "x", Version: uint64(i) + 1, Digest: "d", Schema: 1,
				Timestamp: time.Now().UTC(), RecordedAt: time.Now().UTC(), Data: []byte(`{}`), State: []byte(state)}
			done, err := h.Append(t.Context(), history.Writes(name, after, fmt.Sprint(aggregate, i), []events.Event{ev}))
			harness.Must(t, err)
			after, last = done.Revision, done.Revision
		}
		seen, cursor := "", ""
		for range len(holders) {
			body, err := q.Ask(t.Context(), []string{aggregate, "x", "history"}, fmt.Appendf(nil, `{"limit":1,"cursor":%q}`, cursor))
			harness.Must(t, err)
			var page struct{ Cursor string }
			harness.Must(t, json.Unmarshal(body, &page))
			seen += string(body)
			if cursor = page.Cursor; cursor == "" {
				break
			}
		}
		if strings.Contains(seen, "alice") || strings.Count(seen, `"of bob`) != 3 {
			t.Errorf("the history of a %s: %s", aggregate, seen)
		}
		for i, holder := range holders {
			body, err := q.Ask(t.Context(), []string{aggregate, "x", "get"}, fmt.Appendf(nil, `{"at_revision":%d}`, first+uint64(i)))
			if refused := err != nil && strings.Contains(err.Error(), "query "+aggregate+":x get"); refused != (holder == "alice") || strings.Contains(string(body), "alice") {
				t.Errorf("the %s of %s: %s, %v", aggregate, holder, body, err)
			}
		}
	}
}
