package declared

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
)

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

func TestValues(t *testing.T) {
	for _, c := range [][4]string{ // type, JSON, as SQL reads it, of a group
		{view.Text, `"a\"bé"`, `a"bé`, `a"bé`}, {view.Text, `""`, ``, ``}, {view.Text, `1`, `null`, `null`}, {view.Text, `null`, `null`, `null`},
		{view.Numeric, `1.50`, `1.50`, `1.5`}, {view.Numeric, `-0`, `-0`, `0`}, {view.Numeric, `12e3`, `12e3`, `12000`}, {view.Numeric, `1.2E-3`, `1.2E-3`, `0.0012`},
		{view.Numeric, `12345678901234567890123456789012345678.10`, `12345678901234567890123456789012345678.10`, `12345678901234567890123456789012345678.1`},
		{view.Numeric, `"1"`, `null`, `null`}, {view.Numeric, `true`, `null`, `null`},
		{view.Boolean, `true`, `true`, `true`}, {view.Boolean, `false`, `false`, `false`}, {view.Boolean, `0`, `null`, `null`},
		{view.Timestamptz, `"2026-01-02T03:04:05.123456789+01:00"`, `2026-01-02T02:04:05.123456Z`, `2026-01-02T02:04:05.123456Z`},
		{view.Timestamptz, `"2026-01-02"`, `null`, `null`}, {view.Timestamptz, `"0000-01-01T00:00:00Z"`, `null`, `null`}, {view.Timestamptz, `5`, `null`, `null`},
		{view.JSONB, `{"b":1.0, "a":[1e2]}`, `{"b":1.0, "a":[1e2]}`, `{"a":[100],"b":1}`}, {view.JSONB, `"x"`, `"x"`, `"x"`}, {view.JSONB, `null`, `null`, `null`},
		{view.JSONB, `{"n":[12345678901234567890,{}],"é":""}`, `{"n":[12345678901234567890,{}],"é":""}`, `{"n":[12345678901234567890,{}],"é":""}`},
	} {
		if got := text(Value(c[0], jsontext.Value(c[1]), false)); got != c[2] {
			t.Errorf("%s %s is %s, want %s", c[0], c[1], got, c[2])
		}
		if got := text(Value(c[0], jsontext.Value(c[1]), true)); got != c[3] {
			t.Errorf("%s %s is %s in a group, want %s", c[0], c[1], got, c[3])
		}
	}
}

func TestFind(t *testing.T) {
	const doc = `{"a":{"b/c":[1,{"d":"x"}],"~":null},"":5}`
	for path, want := range map[string]string{
		"": doc, "/a/b~1c/0": "1", "/a/b~1c/1/d": `"x"`, "/a/~0": "null", "/": "5", "/a/b~1c/2": "", "/a/b~1c/-": "", "/a/b~1c/01": "", "/b": "", "/a/b~1c/1/d/e": "",
	} {
		var tokens []string
		for token := range jsontext.Pointer(path).Tokens() {
			tokens = append(tokens, token)
		}
		if got, ok := find([]byte(doc), tokens); string(got) != want || ok != (want != "") {
			t.Errorf("%s is %s, %t, want %s", path, got, ok, want)
		}
	}
}

// TestGroupKeys: the key of a group is the SHA-256 of the RFC 8785 array of its values.
func TestGroupKeys(t *testing.T) {
	d, err := view.Parse("v", []byte(`{"from":"state","columns":{"a":{"path":"/value/a","type":"text"},"n":{"path":"/value/n","type":"numeric"}},"group":{"by":["n","a"],"count":true}}`))
	if err != nil {
		t.Fatal(err)
	}
	f := New(d)
	for value, array := range map[string]string{
		`{"a":"Rome","n":1.50}`: `[1.5,"Rome"]`, `{"n":1e21}`: `[1e+21,null]`, `{"a":"é\u001f/","n":0.10}`: `[0.1,"é\u001f/"]`,
		`{"a":1,"n":12345678901234567890}`: `[12345678901234567890,null]`, `7`: `[null,null]`,
	} {
		c := f.Entry(&readmodel.EntryChange{Entry: readmodel.Entry{Agent: "a", Key: "k", Value: []byte(value)}})
		sum := sha256.Sum256([]byte(array))
		if want := "g." + hex.EncodeToString(sum[:])[:32]; f.GroupOf(&c) != want || c.Key != "a.k" {
			t.Errorf("%s is in another group than %s", value, array)
		}
	}
}

// TestWhichRows: patterns of agents and keys, and rows that leave a view.
func TestWhichRows(t *testing.T) {
	parse := func(text string) *Fold {
		d, err := view.Parse("v", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return New(d)
	}
	state := parse(`{"from":"state","agents":"shop-*","keys":"order.*","columns":{"at":{"path":"/timestamp","type":"timestamptz"},"who":{"path":"/agent_id","type":"text"}}}`)
	for name, want := range map[events.AggregateName]bool{
		events.StateEntry("shop-1", "order.1"): true, events.StateEntry("shop-1", "other"): false, events.StateEntry("a", "order.1"): false,
		events.Task("shop-1"): false, events.EntryConflicts("shop-1", "order.1"): false, events.Config("shop-1", "order.1"): false,
	} {
		if state.Covers(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := state.Entry(&readmodel.EntryChange{Entry: readmodel.Entry{Agent: "shop-1", Key: "order.1", Value: []byte("1"), Timestamp: at}})
	if c.Gone || text(c.Values[0]) != "2026-01-02T03:04:05Z" || text(c.Values[1]) != "shop-1" {
		t.Errorf("%+v", c)
	}
	tasks := parse(`{"from":"task","agents":"shop-*","columns":{"status":{"path":"/status","type":"text"}}}`)
	for state, gone := range map[string]bool{`{"status":"created"}`: true, `{"status":"created","agent_id":"shop-1"}`: false, `{"status":"created","agent_id":"b"}`: true} {
		c := tasks.Doc(&readmodel.DocChange{Doc: readmodel.Doc{Kind: readmodel.KindTask, ID: "t", State: []byte(state)}})
		if c.Gone != gone || c.Key != "t" || !gone && text(c.Values[0]) != "created" {
			t.Errorf("%s: %+v", state, c)
		}
	}
}

// TestEqualNumbersAreEqual: a number spelled otherwise is the same decimal.
func TestEqualNumbersAreEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, zeros, exponent := rapid.Int64().Draw(t, "n"), rapid.IntRange(0, 5).Draw(t, "zeros"), rapid.IntRange(-20, 20).Draw(t, "exponent")
		one := parseDecimal(fmt.Sprintf("%de%d", n, exponent))
		other := parseDecimal(fmt.Sprintf("%d.%0*dE%+d", n, zeros+1, 0, exponent))
		if one != other || parseDecimal(one.plain()) != one || n != 0 && parseDecimal(fmt.Sprintf("%de%d", n, exponent+1)) == one {
			t.Errorf("%+v, %+v, %s", one, other, one.plain())
		}
	})
}

// TestMessages: a row for each message of the senders, by the pattern of its id; none of one
// whose sender was erased.
func TestMessages(t *testing.T) {
	d, err := view.Parse("v", []byte(`{"from":"message","agents":"shop-*","keys":"m*","columns":{"all":{"path":"","type":"jsonb"},"n":{"path":"/body/n","type":"numeric"},`+
		`"to":{"path":"/to","type":"text"},"at":{"path":"/sent_at","type":"timestamptz"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	f := New(d)
	for name, want := range map[events.AggregateName]bool{
		events.Sent("shop-1"): true, events.Lifecycle("shop-1"): true, events.Sent("a"): false, events.Lifecycle("a"): false,
		events.Inbox("shop-1"): false, events.StateEntry("shop-1", "m"): false, events.Task("shop-1"): false,
	} {
		if f.Covers(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
	sent := func(id, data string) *events.Record {
		return &events.Record{Event: events.Event{Type: events.MessageSent, Aggregate: "message", ID: "shop-1", CommandID: id,
			Timestamp: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Data: jsontext.Value(data)}, Revision: 7}
	}
	c, ok, err := f.Message(sent("m1", `{"kind":"direct","to":"bob","body":{ "n" : 1.50 },"request":"r"}`))
	const all = `{"message_id":"m1","kind":"direct","from":"shop-1","to":"bob","body":{ "n" : 1.50 },"sent_at":"2026-01-02T03:04:05Z","sequence":7}`
	if err != nil || !ok || c.Gone || c.Key != "shop-1.m1" || text(c.Values[0]) != all || text(c.Values[2]) != "1.50" || text(c.Values[3]) != "bob" || text(c.Values[1]) != "2026-01-02T03:04:05Z" {
		t.Errorf("%+v %s, %v, %v", c, text(c.Values[0]), ok, err)
	}
	erased := sent("m2", `{"kind":"direct"}`)
	erased.Erased = true
	for what, rec := range map[string]*events.Record{"another id": sent("x1", `{"kind":"broadcast","body":1}`), "an erased one": erased} {
		if c, ok, err := f.Message(rec); ok || err != nil {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
	}
	if _, _, err := f.Message(sent("m3", `{"kind":1}`)); err == nil {
		t.Error("data of another type is read")
	}
}
