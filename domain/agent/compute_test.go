package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

func computed(c agent.Computation, operand string) agent.Write {
	return agent.Write{Agent: "a1", Key: "k", Value: []byte(operand), Computation: c, MaxValue: 100_000, Request: "req"}
}

// holding is an entry with a value; "" = it does not exist.
func holding(value string) agent.Entry {
	if value == "" {
		return deleted
	}
	e := living
	e.Value = []byte(value)
	return e
}

// compute is the value after a computed write, or the code of the refusal.
func compute(given string, w agent.Write) string {
	d := agent.DecideEntry(holding(given), w, domain.Metadata{Now: now, CommandID: "C1", Revision: revision})
	if d.Refusal != nil {
		if len(d.Events) > 0 || d.Loss != nil && d.Refusal.Kind != domain.Conflict {
			return "a refusal with events"
		}
		return d.Refusal.Code
	}
	set, err := events.DecodeStateWrite(d.Events[0].Data)
	if err != nil || d.Events[0].Type != events.StateSet || d.Outcome != domain.Accepted || set.Request != "req" {
		return fmt.Sprintf("%+v, %v", d, err)
	}
	return string(set.Value)
}

func TestComputedWrites(t *testing.T) {
	merge, add, all := agent.Merge{}, agent.Add{}, agent.Append{}
	for _, c := range []struct {
		given   string
		when    agent.Computation
		operand string
		then    string
	}{
		// RFC 7396, appendix A, with the patches and targets that are objects.
		{`{"a":"b"}`, merge, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, merge, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, merge, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, merge, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, merge, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, merge, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, merge, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, merge, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, merge, `{"a":1}`, `{"e":null,"a":1}`},
		{`{}`, merge, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`["a","b"]`, merge, `{"a":"b"}`, "state.not_object"},
		{`"foo"`, merge, `{"a":"b"}`, "state.not_object"},
		{`null`, merge, `{"a":"b"}`, "state.not_object"},

		{``, merge, `{}`, `{}`},
		{``, merge, `{"a":null,"b":{"c":null,"d":1.50}}`, `{"b":{"d":1.50}}`},
		{`{"a":[1]}`, merge, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{`{ "n" : 12345678901234567890.10 , "s":"\u0041<&>", "\u0041":1 }`, merge, `{"A":2,"x":[null, 1]}`,
			`{"n":12345678901234567890.10,"s":"\u0041<&>","\u0041":2,"x":[null, 1]}`},

		{``, add, `5`, `5`},
		{``, add, `-0`, `0`},
		{`0.1`, add, `0.2`, `0.3`},
		{`1.50`, add, `1.50`, `3`},
		{`-1`, add, `1`, `0`},
		{`9007199254740993`, add, `9007199254740993`, `18014398509481986`},
		{`9999999999999999999999999999999999999999`, add, `-1`, `9999999999999999999999999999999999999998`},
		{`9999999999999999999999999999999999999999`, add, `1`, `1e+40`},
		{`9999999999999999999999999999999999999999`, add, `0.1`, "state.out_of_range"},
		{`1E+2`, add, `1e-2`, `100.01`},
		{`1e308`, add, `-1e308`, `0`},
		{`1e308`, add, `1`, "state.out_of_range"},
		{`-25e99`, add, `-25e99`, `-5e+100`},
		{`123e-60`, add, `0`, `1.23e-58`},
		{`9e308`, add, `9e308`, "state.out_of_range"},
		{`"1"`, add, `1`, "state.not_number"},
		{`null`, add, `1`, "state.not_number"},
		{`10`, agent.Add{Max: "10.5"}, `0.5`, `10.5`},
		{`10`, agent.Add{Max: "10.5"}, `0.51`, "state.out_of_range"},
		{``, agent.Add{Min: "0"}, `-1e-300`, "state.out_of_range"},
		{`3`, agent.Add{Min: "0", Max: "1e1"}, `-3.0`, `0`},
		{`30`, agent.Add{Max: "10"}, `-5`, "state.out_of_range"},

		{``, all, `[]`, `[]`},
		{``, all, `[1, {"a" : 1.50}]`, `[1,{"a" : 1.50}]`},
		{`[ 1 ]`, all, `[[2],null]`, `[1,[2],null]`},
		{`[1,2,3]`, agent.Append{MaxItems: 2}, `[]`, `[2,3]`},
		{`[1,2,3]`, agent.Append{MaxItems: 2}, `[4,5,6]`, `[5,6]`},
		{`[1]`, agent.Append{MaxItems: 1<<64 - 1}, `[2]`, `[1,2]`},
		{`{}`, all, `[1]`, "state.not_array"},
		{`null`, all, `[1]`, "state.not_array"},
		{`["` + strings.Repeat("v", 99_990) + `"]`, all, `["x","y"]`, "value.too_large"},
		{`["` + strings.Repeat("v", 99_990) + `"]`, agent.Append{MaxItems: 2}, `["x","y"]`, `["x","y"]`},
		{`{"a":"` + strings.Repeat("v", 99_990) + `"}`, merge, `{"b":"12345"}`, "value.too_large"},
	} {
		if got := compute(c.given, computed(c.when, c.operand)); got != c.then {
			t.Errorf("%.60s %+v %.60s: %.100s, want %.100s", c.given, c.when, c.operand, got, c.then)
		}
	}
	if err := (agent.Add{Min: "0.1", Max: "1e-1"}).Check(); err != nil {
		t.Error(err)
	}
	if err := (agent.Add{Min: "0.11", Max: "1e-1"}).Check(); err == nil {
		t.Error("min above max is accepted")
	}
}

// A computed write takes effect after the entry's last one, whatever the clocks; an
// expected version that does not hold is a conflict, kept with what was asked for.
func TestComputedWritesAreOrdered(t *testing.T) {
	later := living
	later.Timestamp = now.Add(1000)
	d := agent.DecideEntry(later, computed(agent.Add{}, "1"), domain.Metadata{Now: now, CommandID: "C1", Revision: revision})
	if len(d.Events) != 1 || !d.Events[0].Timestamp.Equal(later.Timestamp.Add(1)) {
		t.Errorf("%+v", d)
	}
	if got := compute("1", expecting(computed(agent.Add{}, "1"), 3)); got != "2" {
		t.Error(got)
	}
	d = agent.DecideEntry(living, expecting(computed(agent.Append{}, "[1]"), 2), domain.Metadata{Now: now, CommandID: "C1", Revision: revision})
	if d.Refusal == nil || d.Refusal.Code != "state.conflict" || d.Loss == nil {
		t.Fatalf("%+v", d)
	}
	if loss, err := events.DecodeStateLoss(d.Loss.Data); err != nil || loss.Verb != "append" || string(loss.Value) != "[1]" {
		t.Errorf("%+v, %v", loss, err)
	}
}

// Sums are exact: any order gives the sum of the integers, shifted.
func TestAddIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shift := rapid.IntRange(-18, 18).Draw(t, "shift")
		terms := rapid.SliceOfN(rapid.Int64(), 1, 8).Draw(t, "terms")
		want := new(big.Int)
		sum := func(terms []int64) (value string) {
			for _, n := range terms {
				value = compute(value, computed(agent.Add{}, fmt.Sprintf("%de%d", n, shift)))
			}
			return value
		}
		for _, n := range terms {
			want.Add(want, big.NewInt(n))
		}
		value := sum(terms)
		got, ok := new(big.Rat).SetString(value)
		exact, _ := new(big.Rat).SetString(fmt.Sprintf("%se%d", want, shift))
		if !ok || got.Cmp(exact) != 0 || !json.Valid([]byte(value)) || domain.CheckJSON([]byte(value)) != nil {
			t.Fatalf("%v e%d is %s", terms, shift, value)
		}
		if other := sum(rapid.Permutation(terms).Draw(t, "order")); other != value {
			t.Fatalf("in another order %s, not %s", other, value)
		}
	})
}

// Where the value is accepted in any spelling, so is the sum with nothing.
func TestAddKeepsNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
		value := compute(number, computed(agent.Add{}, "0"))
		was, _ := new(big.Rat).SetString(number)
		is, ok := new(big.Rat).SetString(value)
		if !ok || was.Cmp(is) != 0 || domain.CheckJSON([]byte(value)) != nil {
			t.Fatalf("%s became %s", number, value)
		}
		if again := compute(value, computed(agent.Add{}, "0")); again != value {
			t.Fatalf("%s became %s, then %s", number, value, again)
		}
	})
}

func TestAppendKeepsTheNewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Uint64Range(1, 6).Draw(t, "limit")
		value, want, next := "", []int{}, 0
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 8), 1, 8).Draw(t, "items") {
			items := []int{}
			for range n {
				items = append(items, next)
				next++
			}
			text, err := json.Marshal(items)
			if err != nil {
				t.Fatal(err)
			}
			value = compute(value, computed(agent.Append{MaxItems: limit}, string(text)))
			want = append(want, items...)
			want = want[max(0, len(want)-int(limit)):]
		}
		if text, _ := json.Marshal(want); value != string(text) {
			t.Fatalf("%s, want %s", value, text)
		}
	})
}

// Merge agrees with another implementation of RFC 7396, which differs from it in nulls
// inside arrays only.
func TestMergeIsMergePatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		given, patch := drawObject(t, 3), drawObject(t, 3)
		want, err := jsonpatch.MergePatch(given, patch)
		if err != nil {
			t.Fatal(err)
		}
		got := compute(string(given), computed(agent.Merge{}, string(patch)))
		if !jsonpatch.Equal([]byte(got), want) {
			t.Fatalf("%s + %s is %s, want %s", given, patch, got, want)
		}
	})
}

func drawObject(t *rapid.T, depth int) []byte {
	object := []byte{'{'}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "\\u00e9"}), 0, 4, rapid.ID).Draw(t, "names") {
		if len(object) > 1 {
			object = append(object, ',')
		}
		value := []byte(rapid.SampledFrom([]string{`1`, `null`, `"x"`, `[{"a":1}]`, `true`, `{}`, ``, ``}).Draw(t, "value"))
		if len(value) == 0 && depth > 0 {
			value = drawObject(t, depth-1)
		} else if len(value) == 0 {
			value = []byte(`2`)
		}
		object = append(append(append(object, `"`+name+`":`...), value...), bytes.Repeat([]byte{' '}, len(name)%2)...)
	}
	return append(object, '}')
}
