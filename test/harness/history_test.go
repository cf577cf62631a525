package harness

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

var begin = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }

// journal returns events from lines "<kind> <command> <value>" on one entry,
// with correct digests.
func journal(lines ...string) []Event {
	var all []Event
	versions, digests := map[string]uint64{}, map[string]string{}
	for i, line := range lines {
		parts := strings.SplitN(line, " ", 3)
		stream, kind := "state", parts[0]
		if kind == "superseded" || kind == "rejected" {
			stream = "conflict"
		}
		versions[stream]++
		data := `{}`
		if kind != "deleted" {
			data = `{"value":` + parts[2] + `}`
		}
		body := fmt.Sprintf(`{"type":"agent.state_%s","aggregate":"agent","id":"a","key":"k","version":%d,"timestamp":%q,"command_id":%q,"data":%s`,
			kind, versions[stream], begin.Format(time.RFC3339Nano), parts[1], data)
		digest, err := chain(digests[stream], []byte(body+`,"digest":""}`))
		if err != nil {
			panic(err)
		}
		digests[stream] = digest
		e := Event{Subject: "events.agent.a." + stream + ".k", Revision: uint64(i + 1), Raw: []byte(body + `,"digest":"` + digest + `"}`)}
		if err := json.Unmarshal(e.Raw, &e); err != nil {
			panic(err)
		}
		all = append(all, e)
	}
	return all
}

// op is a command that was accepted with this version and revision, sent and
// answered at these seconds.
func op(id, value string, version, revision uint64, sent, answered int) Op {
	return Op{ID: id, Agent: "a", Key: "k", Value: value, Invoked: at(sent), Returned: at(answered), Outcome: "accepted", Sent: 1,
		Receipt: Receipt{Version: version, Revision: revision}}
}

func other(o Op, outcome string, status int) Op {
	o.Outcome, o.Status = outcome, status
	return o
}

func read(version uint64, value string, sent, answered int) Read {
	return Read{Agent: "a", Key: "k", Strong: true, Found: version > 0, Version: version, Value: value, Invoked: at(sent), Returned: at(answered)}
}

// TestHistoryCatches: each violation appears once, beside a history that is
// similar and right.
func TestHistoryCatches(t *testing.T) {
	three := journal("set c1 1", "deleted c2", "set c3 3")
	right := []Op{op("c1", "1", 1, 1, 0, 1), op("c2", "", 2, 2, 1, 2), op("c3", "3", 3, 3, 2, 3)}
	with := func(more ...Op) []Op { return append(slices.Clone(right), more...) }
	for _, c := range []struct {
		name  string
		all   []Event
		ops   []Op
		reads []Read
		want  string // part of the only complaint; "" = none
	}{
		{"right", three, right, []Read{read(1, "1", 1, 2), read(0, "", 2, 3), read(3, "3", 4, 5)}, ""},
		{"unknown and there", three, []Op{right[0], other(right[1], Unknown, 0), right[2]}, nil, ""},
		{"unknown and not there", three, with(other(op("c4", "4", 0, 0, 4, 5), Unknown, 0)), nil, ""},
		{"refused and not there", three, with(other(op("c4", "4", 0, 0, 4, 5), Refusing, 404)), nil, ""},
		{"side by side, either way round", three, []Op{op("c1", "1", 1, 1, 0, 9), op("c2", "", 2, 2, 0, 9), op("c3", "3", 3, 3, 0, 1)}, nil, ""},
		{"a loser", journal("set c1 1", "superseded c2 2"), []Op{right[0], other(op("c2", "2", 1, 1, 2, 3), "superseded", 0)}, nil, ""},

		{"lost", three, with(op("c4", "4", 4, 4, 4, 5)), nil, "and lost"},
		{"elsewhere", three, []Op{right[0], right[1], op("c3", "3", 4, 4, 2, 3)}, nil, "it is at 3"},
		{"another value", three, []Op{right[0], right[1], op("c3", "33", 3, 3, 2, 3)}, nil, "it wrote"},
		{"twice", journal("set c1 1", "set c1 1"), right[:1], nil, "2 times"},
		{"refused and there", three, []Op{right[0], right[1], other(right[2], Refusing, 404)}, nil, "and taken"},
		{"a conflict that won", three, []Op{right[0], right[1], other(right[2], Refusing, 409)}, nil, "not kept as one"},
		{"a loser forgotten", three, with(other(op("c4", "4", 0, 0, 4, 5), Refusing, 409)), nil, "not kept as one"},
		{"lost against nothing", journal("set c1 1", "superseded c2 2"), []Op{right[0], other(op("c2", "2", 7, 7, 2, 3), "superseded", 0)}, nil, "which does not exist"},
		{"a ghost", three, right[:2], nil, "no client sent"},
		{"against time", three, []Op{op("c1", "1", 1, 1, 5, 6), right[1], right[2]}, nil, "stands before it"},
		{"stale", three, right, []Read{read(1, "1", 4, 5)}, "could have seen 3 to 3"},
		{"from the future", three, []Op{right[0], right[1], op("c3", "3", 3, 3, 8, 9)}, []Read{read(3, "3", 3, 4)}, "could have seen 2 to 2"},
		{"never so", three, right, []Read{read(3, "4", 4, 5)}, `as "4"`},
		{"deleted and seen", three, right, []Read{read(2, "1", 2, 2)}, `version 2 as "1"`},
		{"there and not seen", three, right, []Read{read(0, "", 4, 5)}, "all of which have a value"},
		{"back in time", three, []Op{right[0], right[1], other(right[2], Unknown, 0)}, []Read{read(3, "3", 4, 5), read(0, "", 6, 7)}, "all of which have a value"},
		{"less than the token", three, []Op{right[0], right[1], op("c3", "3", 3, 3, 2, 9)},
			[]Read{{Agent: "a", Key: "k", AtLeast: 3, Found: true, Version: 1, Value: "1", Invoked: at(4), Returned: at(5)}}, "could have seen 3 to 3"},
	} {
		h := NewHistory()
		for _, op := range c.ops {
			h.Add(op)
		}
		for _, r := range c.reads {
			h.AddRead(r)
		}
		got := h.Check(c.all)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCheckJournalCatches(t *testing.T) {
	fresh := func() []Event { return journal("set c1 1", "rejected c2 2", "set c3 3", "deleted c4") }
	if got := CheckJournal(fresh()); len(got) > 0 {
		t.Fatalf("the truth: %q", got)
	}
	for _, c := range []struct {
		name string
		lie  func(all []Event) []Event
		want string
	}{
		{"a revision is gone", func(all []Event) []Event { all[3].Revision++; return all }, "the revision before it is 3"},
		{"a version is gone", func(all []Event) []Event { all[3].Version++; return all }, "version 4 follows version 2"},
		{"another subject", func(all []Event) []Event { all[3].Key = "other"; return all }, "it says it is"},
		{"a command twice", func(all []Event) []Event { all[3].CommandID = "c1"; return all }, "took effect before"},
		{"a command that lost and won", func(all []Event) []Event { all[3].CommandID = "c2"; return all }, "took effect before"},
		{"a value was changed", func(all []Event) []Event {
			all[3].Raw = []byte(strings.Replace(string(all[3].Raw), "{}", `{"value":1}`, 1))
			return all
		}, "its digest is"},
	} {
		if got := CheckJournal(c.lie(fresh())); len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDifferencesCatches(t *testing.T) {
	all := journal("set c1 1", "set c2 1.50")
	row := Row{Value: []byte("1.50"), Timestamp: begin, Version: 2, Revision: 2, Digest: all[1].Digest}
	change := func(f func(*Row)) map[string]Row {
		r := row
		f(&r)
		return map[string]Row{"a.k": r}
	}
	for _, c := range []struct {
		name string
		all  []Event
		rows map[string]Row
		want string
	}{
		{"right", all, change(func(*Row) {}), ""},
		{"the truth, deleted", journal("set c1 1", "deleted c2"), nil, ""},
		{"lacking", all, nil, "lacks a.k"},
		{"left over", journal("set c1 1", "deleted c2"), change(func(*Row) {}), "was deleted"},
		{"invented", nil, change(func(*Row) {}), "the journal has nothing"},
		{"another value", all, change(func(r *Row) { r.Value = []byte("1.5") }), "has a.k as"},
		{"an old version", all, change(func(r *Row) { r.Version = 1 }), "has a.k as"},
		{"another revision", all, change(func(r *Row) { r.Revision = 1 }), "has a.k as"},
		{"another digest", all, change(func(r *Row) { r.Digest = "" }), "has a.k as"},
		{"another time", all, change(func(r *Row) { r.Timestamp = at(1) }), "has a.k as"},
	} {
		got := Differences("KV", c.all, c.rows)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestLinearizable shows that the check finds a stale read and a lost write.
func TestLinearizable(t *testing.T) {
	write := func(id string, invoked, returned int) Op {
		return Op{ID: id, Agent: "a", Key: "k", Value: "1", Invoked: at(invoked), Returned: at(returned), Outcome: "accepted"}
	}
	event := func(id string, version uint64) Event {
		return Event{Type: "agent.state_set", Aggregate: "agent", ID: "a", Key: "k", Subject: "events.agent.a.state.k", CommandID: id, Version: version}
	}
	journal := []Event{event("one", 1), event("two", 2)}
	for _, c := range []struct {
		name  string
		reads []Read
		want  int
	}{
		{"in order", []Read{{Strong: true, Found: true, Version: 2, Invoked: at(6), Returned: at(7)}}, 0},
		{"stale", []Read{{Strong: true, Found: true, Version: 1, Invoked: at(6), Returned: at(7)}}, 1},
		{"backwards", []Read{{Strong: true, Found: true, Version: 2, Invoked: at(3), Returned: at(4)},
			{Strong: true, Found: true, Version: 1, Invoked: at(6), Returned: at(7)}}, 1},
		{"nothing where there is a value", []Read{{Strong: true, Invoked: at(6), Returned: at(7)}}, 1},
		{"overlapping", []Read{{Strong: true, Found: true, Version: 1, Invoked: at(3), Returned: at(6)}}, 0},
	} {
		h := NewHistory()
		h.Add(write("one", 1, 2))
		h.Add(write("two", 2, 5))
		for _, r := range c.reads {
			r.Agent, r.Key = "a", "k"
			h.AddRead(r)
		}
		if n, wrong := h.Linearizable(journal); n != 1 || len(wrong) != c.want {
			t.Errorf("%s: %d histories, %v", c.name, n, wrong)
		}
	}
}
