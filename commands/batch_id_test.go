package commands_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

func (e *engine) batchAs(id, body string) ([]commands.Result, error) {
	e.t.Helper()
	type reply struct {
		results []commands.Result
		err     error
	}
	replies := make(chan reply, 1)
	e.HandleBatch(e.t.Context(), id, []byte(body), strings.Clone, func(r []commands.Result, err error) { replies <- reply{r, err} })
	got := harness.Receive(e.t, "a batch's answer", replies)
	return got.results, got.err
}

// TestABatchHasAnID: a batch that is sent again under its id takes effect once, and its
// commands have ids that carry the time of the batch's id.
func TestABatchHasAnID(t *testing.T) {
	v7, err := uuid.NewV7()
	harness.Must(t, err)
	for i, id := range []string{ulid.Make().String(), v7.String(), "mine"} {
		e := newEngine(t, journaltest.History(t, 1), commands.Config{})
		for _, atomic := range []bool{false, true} {
			id := fmt.Sprint(id)
			if atomic && i == 2 {
				id += "-atomic"
			} else if atomic {
				id = ulid.Make().String()
			}
			set := func(value int, own string) string {
				return fmt.Sprintf(`{"atomic":%t,"commands":[{"subject":"agent.a%[1]t.set","body":{"key":"k","value":1}},{"subject":"agent.a%[1]t.set","body":{"key":"k","value":%[2]d}},%[3]s]}`,
					atomic, value, item(fmt.Sprintf("a%t", atomic), "set", "own-"+own, `{"key":"own-`+own+`","value":1}`))
			}
			first, err := e.batchAs(id, set(2, id))
			harness.Must(t, err)
			again, err := e.batchAs(id, set(2, id))
			harness.Must(t, err)
			for n := range first {
				a, b := first[n].Receipt, again[n].Receipt
				if first[n].Err != nil || again[n].Err != nil || a.Replayed || !b.Replayed || a.CommandID != b.CommandID || a.Revision != b.Revision {
					t.Errorf("%s, command %d: %+v, then %+v", id, n, first[n], again[n])
				}
				if made, err := ulid.ParseStrict(a.CommandID); n < 2 && i < 2 && (err != nil || !strings.HasPrefix(id, made.String()[:10]) && i == 0) {
					t.Errorf("%s: command %d has the id %s", id, n, a.CommandID)
				}
			}
			if first[0].Receipt.CommandID == first[1].Receipt.CommandID || first[1].Receipt.Version != 2 || first[2].Receipt.CommandID != "own-"+id {
				t.Errorf("%s: %+v", id, first)
			}
			results, err := e.batchAs(id, set(3, id)) // another body
			var refused *domain.Error
			if atomic && (!errors.As(err, &refused) || refused.Code != "command.id_reused") ||
				!atomic && (err != nil || !errors.As(results[1].Err, &refused) || refused.Code != "command.id_reused") {
				t.Errorf("%s with another body: %+v, %v", id, results, err)
			}
			if other, err := e.batchAs("another-"+id, set(2, "another-"+id)); err != nil || other[0].Receipt.Replayed || other[1].Receipt.Version != 4 {
				t.Errorf("another id than %s: %+v, %v", id, other, err)
			}
		}
	}
}

// TestBatchesWithoutMembers: nothing and null are a body without members at this door too; an
// error names its place.
func TestBatchesWithoutMembers(t *testing.T) {
	e := newEngine(t, journaltest.History(t, 1), commands.Config{})
	const one = `[{"subject":"agent.a.set","body":{"key":"k","value":1}}]`
	for body, want := range map[string][2]string{
		``: {"body.missing_field", ""}, `null`: {"body.missing_field", ""}, `{}`: {"body.missing_field", ""}, `{"commands":null}`: {"body.missing_field", ""},
		`[]`: {"body.invalid", ""}, ` `: {"json.invalid", ""}, `null 1`: {"json.invalid", ""}, `{"commands":{}}`: {"body.invalid", "/commands"}, `{"commands":` + one + `,"atomic":1}`: {"body.invalid", "/atomic"},
		`{"commands":` + one + `,"require":{}}`: {"body.invalid", "/require"}, `{"commands":` + one + `,"x":1}`: {"body.unknown_field", "/x"},
		`{"commands":` + one + `,"require":null}`: {"body.invalid", "/require"}, `{"commands":` + one + `,"atomic":null}`: {"", ""},
	} {
		_, err := e.batch(body)
		var refused *domain.Error
		if want[0] == "" && err != nil || want[0] != "" && (!errors.As(err, &refused) || refused.Code != want[0]) {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if place := ""; refused != nil {
			place, _ = refused.Details["place"].(string)
			if place != want[1] {
				t.Errorf("%s: the place is %q", body, place)
			}
		}
	}
	results, err := e.batch(`{"commands":[null,{"subject":5},{"nope":1}]}`)
	harness.Must(t, err)
	for i, want := range []string{"body.invalid", "body.invalid", "body.unknown_field"} {
		var refused *domain.Error
		if !errors.As(results[i].Err, &refused) || refused.Code != want || i > 0 && refused.Details["place"] == nil {
			t.Errorf("command %d: %v", i, results[i].Err)
		}
	}
}
