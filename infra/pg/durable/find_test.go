package durable_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

func TestFind(t *testing.T) {
	db := pgtest.Migrated(t)
	v := durable.New(db, "durable")
	if _, err := v.Load(t.Context(), 0, "j"); err != nil {
		t.Fatal(err)
	}
	var c projections.Changes
	for name, value := range map[string]string{
		"a.order.1": `{"city":"Oslo","total":120.50,"tags":["gift","red"]}`,
		"a.order.2": `{"city":"Rome","total":99,"note":"Call before the delivery"}`,
		"b.order.1": `{"city":"Oslo","total":7,"open":true}`,
		"b.note":    `"Oslo delivery"`,
		"c_.list":   `[1,{"city":"Oslo"}]`,
		"cx.null":   `null`,
	} {
		agent, key, _ := strings.Cut(name, ".")
		c.Entries = append(c.Entries, readmodel.EntryChange{Entry: readmodel.Entry{
			Agent: agent, Key: key, Value: []byte(value), Version: 1, Revision: uint64(len(c.Entries) + 1), Writer: "w", Digest: "d",
		}})
	}
	if err := v.Apply(t.Context(), 0, 0, 6, c); err != nil {
		t.Fatal(err)
	}
	all, orders := &readmodel.Search{}, &readmodel.Search{Prefixes: []string{"order.", "order.1"}}
	found := func(find readmodel.EntryFind) (names []string, err error) {
		if find.In == nil {
			find.In = all
		}
		if find.Limit == 0 {
			find.Limit = 100
		}
		rows, err := v.Find(t.Context(), find)
		for _, e := range rows {
			if !json.Valid(e.Value) || e.Version != 1 || e.Digest != "d" {
				t.Errorf("%+v", e)
			}
			names = append(names, e.Agent+"."+e.Key)
		}
		return names, err
	}
	check := func() {
		t.Helper()
		for _, c := range []struct {
			find readmodel.EntryFind
			want string
		}{
			{readmodel.EntryFind{}, "a.order.1 a.order.2 b.note b.order.1 c_.list cx.null"},
			{readmodel.EntryFind{Limit: 2}, "a.order.1 a.order.2"},
			{readmodel.EntryFind{AfterAgent: "a", AfterKey: "order.2", Limit: 2}, "b.note b.order.1"},
			{readmodel.EntryFind{In: orders}, "a.order.1 a.order.2 b.order.1"},
			{readmodel.EntryFind{In: orders, Text: "oslo"}, "a.order.1 b.order.1"},
			{readmodel.EntryFind{In: orders, Contains: []byte(`{"total":99.0}`)}, "a.order.2"},
			{readmodel.EntryFind{AgentPrefix: "c_"}, "c_.list"},
			{readmodel.EntryFind{Agents: []string{"c_*", "b"}}, "b.note b.order.1 c_.list"},
			{readmodel.EntryFind{Agents: []string{}}, ""},
			{readmodel.EntryFind{Key: "order.1"}, "a.order.1 b.order.1"},
			{readmodel.EntryFind{KeyPrefix: "order."}, "a.order.1 a.order.2 b.order.1"},
			{readmodel.EntryFind{Contains: []byte(`{"city":"Oslo"}`)}, "a.order.1 b.order.1"},
			{readmodel.EntryFind{Contains: []byte(`[{"city":"Oslo"}]`)}, "c_.list"},
			{readmodel.EntryFind{Contains: []byte(`null`)}, "cx.null"},
			{readmodel.EntryFind{Contains: []byte(`{"tags":["red"]}`), KeyPrefix: "order.", AgentPrefix: "a"}, "a.order.1"},
			{readmodel.EntryFind{Path: `$.total > 50`}, "a.order.1 a.order.2"},
			{readmodel.EntryFind{Path: `$.open`}, "b.order.1"},
			{readmodel.EntryFind{Path: `$.tags[*] ? (@ like_regex "^GI" flag "i")`}, "a.order.1"},
			{readmodel.EntryFind{Path: `exists($.note)`}, "a.order.2"},
			{readmodel.EntryFind{Path: `strict $.tags ? (@.size() == 2)`}, "a.order.1"},
			{readmodel.EntryFind{Path: `$.total > "x"`}, ""},
			{readmodel.EntryFind{Text: "delivery"}, "a.order.2 b.note"},
			{readmodel.EntryFind{Text: `delivery -oslo`}, "a.order.2"},
			{readmodel.EntryFind{Text: `"before the"`}, "a.order.2"},
			{readmodel.EntryFind{Text: `gift or call`}, "a.order.1 a.order.2"},
		} {
			names, err := found(c.find)
			if got := strings.Join(names, " "); err != nil || got != c.want {
				t.Errorf("%+v: %s, %v, want %s", c.find, got, err, c.want)
			}
		}
	}
	check()
	for text, want := range map[string]string{`$.`: "path.invalid", `total > 5`: "path.invalid", `$.a like_regex "("`: "path.invalid"} {
		_, err := found(readmodel.EntryFind{Path: text})
		var refused *domain.Error
		if !errors.As(err, &refused) || refused.Kind != domain.Invalid || refused.Code != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	var refused *domain.Error
	if _, err := found(readmodel.EntryFind{Text: ` " - ! `}); !errors.As(err, &refused) || refused.Code != "text.invalid" {
		t.Errorf("no word: %v", err)
	}

	// The same answers with every set of indexes; those of another set go.
	indexes := func() (names []string) {
		rows, err := db.Pool().Query(t.Context(), `SELECT indexname || ' ' || indexdef FROM pg_indexes WHERE tablename = 'state' AND indexname LIKE 'state_find%' ORDER BY 1`)
		harness.Must(t, err)
		defer rows.Close()
		for rows.Next() {
			var name string
			harness.Must(t, rows.Scan(&name))
			names = append(names, name)
		}
		return names
	}
	var before []string
	for _, s := range []*readmodel.Search{all, orders, nil, orders} {
		changed, done, err := v.IndexSearch(t.Context(), s)
		if err != nil || !done || len(changed) == 0 {
			t.Fatalf("%v %t %v", changed, done, err)
		}
		now := indexes()
		if want := map[bool]int{true: 2}[s != nil]; len(now) != want || slices.ContainsFunc(now, func(n string) bool { return slices.Contains(before, n) }) {
			t.Errorf("the indexes of %+v are %q", s, now)
		}
		if changed, done, err := v.IndexSearch(t.Context(), s); err != nil || !done || len(changed) != 0 {
			t.Errorf("again: %v %t %v", changed, done, err)
		}
		before = now
		check()
	}

	// An index whose creation was interrupted is made again.
	_, err := db.Pool().Exec(t.Context(), `UPDATE pg_index SET indisvalid = false WHERE indexrelid::regclass::text LIKE '%state_find_%_words'`)
	harness.Must(t, err)
	if changed, done, err := v.IndexSearch(t.Context(), orders); err != nil || !done || len(changed) != 2 {
		t.Errorf("after an interruption: %v %t %v", changed, done, err)
	}

	// One that was analyzed before it was finished is made again, and no statistics hold a word.
	words := func() int {
		return pgtest.Count(t, db, `SELECT count(*) FROM pg_stats WHERE schemaname = 'agents' AND tablename LIKE 'state_find_%' AND most_common_elems IS NOT NULL`)
	}
	_, err = db.Pool().Exec(t.Context(), `INSERT INTO agents.state (agent_id, state_key, state_value, state_text, version, revision, writer, timestamp, updated_at, digest)
		SELECT 'analyzed', 'order/' || n, '"frequent"', '"frequent"', 1, 1, '', now(), now(), '' FROM generate_series(1, 200) AS n`)
	harness.Must(t, err)
	analyze := func() {
		_, err := db.Pool().Exec(t.Context(), `ANALYZE agents.state`)
		harness.Must(t, err)
	}
	var index string
	harness.Must(t, db.Pool().QueryRow(t.Context(), `SELECT indexrelid::regclass FROM pg_index WHERE indexrelid::regclass::text LIKE '%state_find_%_words'`).Scan(&index))
	_, err = db.Pool().Exec(t.Context(), `ALTER INDEX `+index+` ALTER COLUMN 1 SET STATISTICS -1`)
	harness.Must(t, err)
	if analyze(); words() == 0 {
		t.Fatal("no statistics to remove")
	}
	if _, done, err := v.IndexSearch(t.Context(), orders); err != nil || done {
		t.Errorf("an index with statistics: %t %v", done, err)
	}
	if changed, done, err := v.IndexSearch(t.Context(), orders); err != nil || !done || len(changed) != 1 {
		t.Errorf("it is made again: %v %t %v", changed, done, err)
	}
	if analyze(); words() != 0 {
		t.Error("statistics hold words")
	}
	_, err = db.Pool().Exec(t.Context(), `DELETE FROM agents.state WHERE agent_id = 'analyzed'`)
	harness.Must(t, err)

	// The statement uses them: without a sequential scan, the plan has both.
	for condition, want := range map[string]readmodel.EntryFind{
		"_json": {In: orders, Contains: []byte(`{"city":"Oslo"}`), Limit: 1}, "_words": {In: orders, Text: "oslo", Limit: 1},
	} {
		if plan := durable.ExplainFind(t, db, want); !strings.Contains(plan, condition) {
			t.Errorf("the plan of %+v:\n%s", want, plan)
		}
	}
}
