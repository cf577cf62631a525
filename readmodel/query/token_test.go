package query_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestTokensOfReadsAtTheJournalsEnd: they wait for the token like any other read, and their own
// token is not before it. The wait for the token does not bound the read.
func TestTokensOfReadsAtTheJournalsEnd(t *testing.T) {
	p := newPast(t, 1)
	p.task("t1", "a1", `{}`)
	p.set("a1", "k", "1")
	head := p.set("a1", "other", "1").Revision
	tail := projections.NewProgress(1)
	q := &query.Query{Rows: query.Rows{History: p.h}, Tail: tail}
	q.Tiers = &tiers.Tiers{Journal: q.Rows}
	token := func(revision uint64) string { return domain.TokenAt(p.h.Incarnation(), 0, revision).String() }
	ask := func(subject, token string, waitMS int) (string, error) {
		body := fmt.Sprintf(`"token":%q,"wait_ms":%d`, token, waitMS)
		if strings.HasSuffix(subject, "a1.get") {
			body += `,"key":"k","consistency":"strong"`
		}
		b, err := q.Ask(t.Context(), strings.Split(subject, "."), []byte("{"+body+"}"))
		var answer struct{ Token string }
		if err == nil {
			harness.Must(t, json.Unmarshal(b, &answer))
		}
		return answer.Token, err
	}
	for _, subject := range []string{"task.t1.get", "agent.a1.get", "agent.a1.lifecycle"} {
		for _, waitMS := range []int{0, 1000} { // the engine has not followed the journal, which has the token
			if got, err := ask(subject, token(head), waitMS); err != nil || got != token(head) {
				t.Errorf("%s with the token of the end, %d ms: %q, %v", subject, waitMS, got, err)
			}
		}
		if _, err := ask(subject, token(head+5), 1); !isBehind(err) {
			t.Errorf("%s with a token beyond the end: %v", subject, err)
		}
	}
	if _, err := ask("task.none.get", token(head+5), 1); !isBehind(err) {
		t.Errorf("a task that is not there yet: %v", err)
	}
	tail.Set(0, head)
	for subject, revision := range map[string]uint64{"task.t1.get": 1, "agent.a1.get": 2, "agent.a1.lifecycle": 1} {
		if got, err := ask(subject, token(1), 0); err != nil || got != token(revision) {
			t.Errorf("%s with an older token: %q, %v", subject, got, err)
		}
	}
}

func isBehind(err error) bool { return err != nil && strings.Contains(err.Error(), "read.behind") }
