package view_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/domaintest"
	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/events"
)

func TestLaws(t *testing.T) {
	domaintest.Aggregate[view.View, view.Command]{
		Evolve:  view.Evolve,
		Decide:  view.Decide,
		Command: draw,
		Load:    domain.CarriedState[view.View],
		Types:   []string{events.ViewDefined, events.ViewRemoved},
	}.Laws(t)
}

func draw(t *rapid.T) view.Command {
	c := view.Command{ID: "v", Request: "r", Remove: rapid.Bool().Draw(t, "remove")}
	if c.Remove {
		return c
	}
	c.Definition = definition(t)
	if rapid.Bool().Draw(t, "expecting") {
		expected := rapid.Uint64Range(0, 5).Draw(t, "expected version")
		c.ExpectedVersion = &expected
	}
	return c
}

// definition draws one of few, so that equal ones occur.
func definition(t *rapid.T) view.Definition {
	d, err := view.Parse("v", []byte(rapid.SampledFrom([]string{
		`{"from":"state","columns":{"a":{"path":"/value/a","type":"text"}}}`,
		`{"from":"state","columns":{"a":{"path":"/value/a","type":"numeric"},"b":{"path":"/value/b~1c","type":"jsonb"}},"into":["kv","sql"]}`,
		`{"from":"task","agents":"a-*","keys":"k*","columns":{"a":{"path":"/kind","type":"text"}},"group":{"by":["a"],"count":true}}`,
		`{"from":"claim","columns":{},"group":{"count":true},"into":["kv"]}`,
	}).Draw(t, "definition")))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestParsesItsOwnForm draws definitions: what Canonical writes is read as an equal
// definition, whatever the order and spelling of the body, and other definitions have another
// digest.
func TestParsesItsOwnForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z0-9_]{0,9}`).Filter(func(s string) bool {
			return !slices.Contains([]string{"key", "revision", "xmin", "xmax", "cmin", "cmax", "ctid", "tableoid", "count"}, s) && !strings.HasPrefix(s, "sum_")
		}), 1, 6, rapid.ID[string]).Draw(t, "columns")
		var columns, reversed []string
		for _, name := range names {
			path := rapid.SampledFrom([]string{"", "/value", "/value/a", "/a~0b/c~1d", "/é/0"}).Draw(t, "path")
			text := fmt.Sprintf(`%q:{"path":%q,"type":"numeric"}`, name, path)
			columns, reversed = append(columns, text), append([]string{fmt.Sprintf(`%q : { "type":"numeric", "path":%q }`, name, path)}, reversed...)
		}
		from := rapid.SampledFrom([]string{"state", "task", "session", "config", "message", "reminder", "claim"}).Draw(t, "from")
		group := ""
		if rapid.Bool().Draw(t, "grouped") {
			by := rapid.IntRange(0, len(names)).Draw(t, "by")
			encoded, _ := json.Marshal(view.Group{By: names[:by], Count: true, Sum: names[by:]})
			group = `,"group":` + string(encoded)
		}
		first, err := view.Parse("v-1", fmt.Appendf(nil, `{"from":%q,"columns":{%s}%s}`, from, strings.Join(columns, ","), group))
		if err != nil {
			t.Fatal(err)
		}
		second, err := view.Parse("v-1", fmt.Appendf(nil, `{"into":["sql"],"agents":"*"%s,"columns":{%s}, "name":"v-1","from":%q}`, group, strings.Join(reversed, ","), from))
		if err != nil || !first.Equal(second) {
			t.Fatalf("%s\n%s\n%v", first.Canonical(), second.Canonical(), err)
		}
		again, err := view.Parse("v-1", first.Canonical())
		if err != nil || !again.Equal(first) {
			t.Fatalf("%s\n%s\n%v", first.Canonical(), again.Canonical(), err)
		}
		var decoded view.Definition
		if err := json.Unmarshal(first.Canonical(), &decoded); err != nil || !decoded.Equal(first) {
			t.Fatalf("%s\n%s\n%v", first.Canonical(), decoded.Canonical(), err)
		}
		other := first
		other.Keys += "x"
		if other.Equal(first) {
			t.Fatalf("%s equals %s", other.Canonical(), first.Canonical())
		}
		output := first.Output()
		slices.Sort(output)
		if len(slices.Compact(output)) != len(first.Output()) || slices.Contains(output, view.KeyColumn) {
			t.Fatalf("columns of the same name: %v", first.Output())
		}
		for _, name := range names {
			if c, ok := first.Column(name); !ok || c.Name != name {
				t.Fatalf("column %s of %s: %+v", name, first.Canonical(), c)
			}
		}
	})
}
