package commands_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// badItems are commands of a batch that cannot be read, with their codes.
var badItems = []struct{ item, code string }{
	{`{"subject":"agent.a1.set","body":{"key":"k","value":"\u0000"}}`, "json.invalid"},
	{`{"subject":"agent.a1.set","body":{"key":"k","value":"\ud800"}}`, "json.invalid"},
	{`{"subject":"agent.a1.set","body":{"key":"k","value":{"a":1,"a":2}}}`, "json.invalid"},
	{`{"subject":"agent.a1.set","body":{"key":"k","key":"l","value":1}}`, "json.invalid"},
	{"{\"subject\":\"agent.a1.set\",\"body\":{\"key\":\"k\",\"value\":\"\xff\"}}", "json.invalid"},
	{`{"subject":"agent.a1.set","body":{"key":"k","value":1e309}}`, "json.invalid"},
	{`{"subject":"agent.a1.set","body":{"key":"k","value":` + strings.Repeat("9", 41) + `}}`, "json.invalid"},
	{`{"subject":"agent.a1.set","body":{"key":"k","value":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}}`, "json.invalid"},
	{`{"subject":"agent.a1.set","body":{"key":"k","value":1},"body":{}}`, "json.invalid"},
	{`{"subject":"agent.a1.set","id":"\u0000","body":{"key":"k","value":1}}`, "json.invalid"},
	{`{"subject":"agent.a1.set","body":{"key":"k","value":1},"nope":1}`, "body.unknown_field"},
	{`{"Subject":"agent.a1.set","body":{"key":"k","value":1}}`, "body.unknown_field"},
	{`{"subject":"agent.a1.set","id":1,"body":{"key":"k","value":1}}`, "body.invalid"},
	{`{"subject":["agent.a1.set"],"body":{"key":"k","value":1}}`, "body.invalid"},
	{`{"subject":"agent.a1.set","body":"x"}`, "body.invalid"},
	{`{"subject":"agent.a1.set","body":[]}`, "body.invalid"},
	{`7`, "body.invalid"}, {`null`, "body.invalid"}, {`[]`, "body.invalid"}, {`"agent.a1.set"`, "body.invalid"},
	{`{"body":{"key":"k","value":1}}`, "body.missing_field"},
	{`{}`, "body.missing_field"},
	{`{"subject":null,"body":{"key":"k","value":1}}`, "body.missing_field"},
	{`{"subject":"agent.a1.set"}`, "body.missing_field"},
	{`{"subject":"agent.a1.set","body":{"value":1}}`, "body.missing_field"},
	{`{"subject":"","body":{}}`, "command.unknown"},
	{`{"subject":"agent.a1","body":{}}`, "command.unknown"},
	{`{"subject":"queries.agent.a1.get","body":{"key":"k"}}`, "command.unknown"},
	{`{"subject":"agent.bob@example.org.set","body":{"key":"k","value":1}}`, "id.invalid"},
	{`{"subject":"agent.a1.set","id":"a.b","body":{"key":"k","value":1}}`, "id.invalid"},
}

// TestOneBadMemberOfABatchIsThatMembersError: the others take effect; in an atomic
// batch it is named by its index and nothing takes effect.
func TestOneBadMemberOfABatchIsThatMembersError(t *testing.T) {
	e := one(t)
	deepest := strings.Repeat("[", 64) + strings.Repeat("]", 64)
	good := func(i int, key string) string {
		return fmt.Sprintf(`{"subject":"agent.a1.set","id":"good-%d-%s","body":{"key":"%s","value":%s}}`, i, key, key, deepest)
	}
	for i, bad := range badItems {
		key := fmt.Sprint("k", i)
		_, err := e.batch(`{"commands":[` + good(i, key) + `,` + bad.item + `],"atomic":true}`)
		var known *domain.Error
		if !errors.As(err, &known) || known.Code != bad.code || known.Details["index"] != 1 {
			t.Errorf("%.100s in an atomic batch: %v", bad.item, err)
		}
		e.count(key, 0, 0)
		results, err := e.batch(`{"commands":[` + bad.item + `,` + good(i, key) + `,` + bad.item + `]}`)
		if err != nil || len(results) != 3 || results[1].Err != nil || results[1].Receipt.Version != 1 {
			t.Errorf("%.100s beside a good one: %+v, %v", bad.item, results, err)
			continue
		}
		if !errors.As(results[0].Err, &known) || known.Code != bad.code || !errors.As(results[2].Err, &known) || known.Code != bad.code {
			t.Errorf("%.100s: %s expected, got %v and %v", bad.item, bad.code, results[0].Err, results[2].Err)
		}
	}
}

// TestTheFirstCulpritOfABatchIsNamed, whether it cannot be parsed, read or decided.
func TestTheFirstCulpritOfABatchIsNamed(t *testing.T) {
	e := one(t)
	_, err := e.batch(`{"atomic":true,"commands":[` + item("a1", "set", "", `{"key":"","value":1}`) + `,{"subject":7}]}`)
	var known *domain.Error
	if !errors.As(err, &known) || known.Code != "key.invalid" || known.Details["index"] != 0 {
		t.Errorf("%v", err)
	}
}

// TestCommandsOfABatchTakeEffectInListOrder, whatever their ids: none loses to one
// before it.
func TestCommandsOfABatchTakeEffectInListOrder(t *testing.T) {
	e := newEngine(t, journaltest.History(t, 1), commands.Config{})
	ids := []string{"zzz", "aaa", "mmm"}
	for range 50 {
		ids = append(ids, uuid.NewString())
	}
	for _, atomic := range []bool{true, false} {
		key := fmt.Sprint("k-", atomic)
		var items []string
		for i, id := range ids {
			items = append(items, item("a1", "set", id, fmt.Sprintf(`{"key":%q,"value":%d}`, key, i)))
		}
		results, err := e.batch(fmt.Sprintf(`{"atomic":%t,"commands":[%s]}`, atomic, strings.Join(items, ",")))
		if err != nil || len(results) != len(ids) {
			t.Fatalf("%+v, %v", results, err)
		}
		for i, r := range results {
			if r.Err != nil || r.Receipt.Outcome != domain.Accepted || r.Receipt.Version != uint64(i+1) {
				t.Errorf("atomic %t: the %d. of id %s: %+v", atomic, i+1, ids[i], r)
			}
		}
		e.count(key, len(ids), 0)
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"atomic":true,"commands":[` + item("a1", "set", "c", `{"key":"k","value":1}`) + `]}`))
	for _, bad := range badItems {
		f.Add([]byte(`{"commands":[` + item("a1", "set", "c", `{"key":"k","value":1}`) + `,` + bad.item + `]}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h := commands.NewHandler(&paper{}, commands.Config{})
		defer h.Close()
		type reply struct {
			results []commands.Result
			err     error
		}
		replies := make(chan reply, 1)
		h.HandleBatch(t.Context(), "", body, strings.Clone, func(r []commands.Result, err error) { replies <- reply{r, err} })
		got := <-replies
		var known *domain.Error
		for _, r := range append(got.results, commands.Result{Err: got.err}) {
			if r.Err != nil && (!errors.As(r.Err, &known) || known.Kind == domain.Internal) {
				t.Errorf("%q: %v", body, r.Err)
			}
		}
	})
}
