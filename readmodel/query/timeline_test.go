package query_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// past is a journal of events that were recorded a minute apart.
type past struct {
	t    *testing.T
	h    *history.History
	q    *query.Query
	at   time.Time
	last map[events.AggregateName]events.Record
}

func newPast(t *testing.T, partitions int) *past {
	h := journaltest.History(t, partitions)
	return &past{t, h, &query.Query{Rows: query.Rows{History: h}}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), map[events.AggregateName]events.Record{}}
}

func (p *past) add(ev events.Event) events.Record {
	p.t.Helper()
	p.at = p.at.Add(time.Minute)
	name := ev.Home()
	before := p.last[name]
	ev.Aggregate, ev.Version, ev.Timestamp, ev.RecordedAt, ev.CommandID, ev.Digest, ev.Schema = strings.SplitN(string(name), ".", 2)[0],
		before.Version+1, p.at, p.at, fmt.Sprint("c", before.Version+1), "d", events.Schema
	done, err := p.h.Append(p.t.Context(), history.Writes(name, before.Revision, "", []events.Event{ev}))
	harness.Must(p.t, err)
	p.last[name] = events.Record{Event: ev, Revision: done.Revision, Name: name}
	return p.last[name]
}

func (p *past) set(agent, key, value string) events.Record {
	return p.add(events.Event{Type: events.StateSet, ID: agent, Key: key, Data: (&events.StateWrite{Value: []byte(value), Strategy: "timestamp"}).Encode()})
}

func (p *past) task(id, agent, data string) events.Record {
	return p.add(events.Event{Type: events.TaskStarted, Aggregate: "task", ID: id, Data: []byte(data), State: fmt.Appendf(nil, `{"agent_id":%q}`, agent)})
}

// pages asks a paged query to its end and returns the members of all pages.
func (p *past) pages(body map[string]any, tokens ...string) (list []json.RawMessage, patch []json.RawMessage, pages int) {
	p.t.Helper()
	for {
		request, err := json.Marshal(body)
		harness.Must(p.t, err)
		answer, err := p.q.Ask(p.t.Context(), tokens, request)
		harness.Must(p.t, err)
		if len(answer) > 1<<20 {
			p.t.Errorf("a page has %d bytes", len(answer))
		}
		var page struct {
			Events, Patch []json.RawMessage
			Cursor, Token string
		}
		harness.Must(p.t, json.Unmarshal(answer, &page))
		list, patch, pages = append(list, page.Events...), append(patch, page.Patch...), pages+1
		if page.Token == "" {
			p.t.Errorf("no token: %s", answer)
		}
		if page.Cursor == "" {
			return list, patch, pages
		}
		body["cursor"] = page.Cursor
	}
}

type row struct {
	Revision   uint64
	Partition  int
	Type, ID   string
	RecordedAt time.Time `json:"recorded_at"`
	Data       json.RawMessage
}

func TestTimeline(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		p := newPast(t, partitions)
		var want []events.Record
		for i := range 300 { // other agents' events lie between
			p.set("other", fmt.Sprint("k", i%7), "1")
			p.task(fmt.Sprint("o", i%5), "other", `{}`)
			switch i % 10 {
			case 0:
				want = append(want, p.set("a", fmt.Sprint("k", i%3), `{ "n" : 1.50 }`))
			case 1:
				want = append(want, p.add(events.Event{Type: events.StateSuperseded, ID: "a", Key: "k", Data: (&events.StateLoss{Verb: "set", Value: []byte("2")}).Encode()}))
			case 2:
				want = append(want, p.add(events.Event{Type: events.HydrationStarted, ID: "a", Data: []byte(`{}`), State: []byte(`{}`)}))
			case 3:
				want = append(want, p.add(events.Event{Type: events.ConfigSet, ID: "a", Key: "c", Data: (&events.StateWrite{Value: []byte("3")}).Encode()}))
			case 4:
				want = append(want, p.task(fmt.Sprint("t", i%4), "a", `{}`))
			case 5: // taken from the agent
				want = append(want, p.task(fmt.Sprint("t", i%4), "", `{"agent_id":"a"}`))
			}
		}
		slices.Reverse(want)
		check := func(what string, body map[string]any, want []events.Record) {
			t.Helper()
			got, _, _ := p.pages(body, "agent", "a", "timeline")
			if len(got) != len(want) {
				t.Fatalf("%d partitions, %s: %d events, want %d", partitions, what, len(got), len(want))
			}
			for i := range got {
				var r row
				harness.Must(t, json.Unmarshal(got[i], &r))
				if r.Revision != want[i].Revision || r.ID != want[i].ID || r.Type != want[i].Type || !r.RecordedAt.Equal(want[i].RecordedAt) ||
					string(r.Data) != string(want[i].Data) {
					t.Fatalf("%d partitions, %s: row %d is %s, want %+v", partitions, what, i, got[i], want[i])
				}
			}
		}
		check("one by one", map[string]any{"limit": 1, "to": want[170].RecordedAt}, want[170:])
		for _, limit := range []int{7, 100, 1000} {
			check(fmt.Sprint("limit ", limit), map[string]any{"limit": limit}, want)
		}
		check("between times", map[string]any{"from": want[90].RecordedAt, "to": want[30].RecordedAt, "limit": 9}, want[30:91])
		check("to a time", map[string]any{"to": want[170].RecordedAt}, want[170:])
		check("before all", map[string]any{"to": 0}, nil)
		if partitions == 1 {
			check("between revisions", map[string]any{"from": want[90].Revision, "to": want[30].Revision, "limit": 9}, want[30:91])
		}
		check("from a revision of the agent", map[string]any{"from": want[179].Revision}, want)
		if got, _, _ := p.pages(map[string]any{}, "agent", "nobody", "timeline"); len(got) > 0 {
			t.Errorf("of an agent without events: %d", len(got))
		}
	}
}

// Large events are paged by their bytes.
func TestTimelineOfLargeValues(t *testing.T) {
	p := newPast(t, 1)
	for i := range 30 {
		p.set("a", "k", `"`+strings.Repeat("x", 200_000+i)+`"`)
	}
	if got, _, pages := p.pages(map[string]any{"limit": 1000}, "agent", "a", "timeline"); len(got) != 30 || pages < 8 {
		t.Errorf("%d events on %d pages", len(got), pages)
	}
	got, patch, pages := p.pages(map[string]any{"from": 1, "limit": 7}, "agent", "a", "diff")
	if len(got) != 29 || len(patch) != 1 || pages < 5 {
		t.Errorf("%d events and %d changes on %d pages", len(got), len(patch), pages)
	}
}

func TestDiff(t *testing.T) {
	p := newPast(t, 1)
	p.set("a", "a", `{"x":1.50,"y":[1,2]}`)
	p.set("a", "gone", `1`)
	from := p.set("a", "same", `1`)
	p.set("a", "a", `{"x":1.5,"y":[1,3],"z":"<é>"}`)
	p.set("a", "b/c", ` { "new" : 1.0 } `)
	p.add(events.Event{Type: events.StateDeleted, ID: "a", Key: "gone", Data: []byte(`{}`)})
	p.set("a", "between", `1`)
	to := p.add(events.Event{Type: events.StateDeleted, ID: "a", Key: "between", Data: []byte(`{}`)})
	p.set("a", "same", `2`)
	const want = `[{"op":"replace","path":"/a/x","value":1.5},{"op":"replace","path":"/a/y/1","value":3},{"op":"add","path":"/a/z","value":"<é>"},` +
		`{"op":"add","path":"/b~1c","value": { "new" : 1.0 } },{"op":"remove","path":"/gone"}]`
	for _, limit := range []int{1, 2, 1000} {
		for _, body := range []map[string]any{
			{"from": from.Revision, "to": to.Revision, "limit": limit}, {"from": from.RecordedAt, "to": to.RecordedAt, "limit": limit},
		} {
			list, patch, _ := p.pages(body, "agent", "a", "diff")
			var revisions []uint64
			for i := range list {
				var r row
				harness.Must(t, json.Unmarshal(list[i], &r))
				revisions = append(revisions, r.Revision)
			}
			got := make([]string, len(patch))
			for i := range patch {
				got[i] = string(patch[i])
			}
			if text := "[" + strings.Join(got, ",") + "]"; strings.ReplaceAll(text, " ", "") != strings.ReplaceAll(want, " ", "") || !slices.Equal(revisions, []uint64{4, 5, 6}) {
				t.Errorf("limit %d: %s\nwant %s\nevents %v", limit, text, want, revisions)
			}
		}
	}
	if list, patch, _ := p.pages(map[string]any{"from": to.Revision, "to": to.Revision}, "agent", "a", "diff"); len(list)+len(patch) > 0 {
		t.Errorf("of one point: %s %s", list, patch)
	}
	if list, patch, _ := p.pages(map[string]any{"from": 0}, "agent", "a", "diff"); len(list) != 5 || len(patch) != 3 {
		t.Errorf("from the beginning: %s %s", list, patch)
	}
}

// The timeline shows the tasks and the configuration that the sender may read.
func TestTimelineShowsWhatIsGranted(t *testing.T) {
	p := newPast(t, 1)
	p.set("a", "k", "1")
	p.add(events.Event{Type: events.ConfigSet, ID: "a", Key: "c", Data: (&events.StateWrite{Value: []byte("3")}).Encode()})
	p.task("mine", "a", `{}`)
	p.task("other", "a", `{}`)
	for grant, want := range map[string]int{"": 1, "query task:mine": 2, "query task:*": 3, "query task:* when holder": 3, "query config:a": 2, "query config:a.x": 1, "query config:*": 2} {
		var all []grants.Grant
		for _, text := range []string{"query agent:a timeline", grant} {
			if g, err := grants.Parse(text); err == nil {
				all = append(all, g)
			}
		}
		p.q.Authority = only{grants.NewSet("a", all...)}
		if got, _, _ := p.pages(map[string]any{}, "agent", "a", "timeline"); len(got) != want {
			t.Errorf("with %q: %d events, want %d", grant, len(got), want)
		}
	}
}

// only is the authority of one principal.
type only struct{ set *grants.Set }

func (o only) Grants(context.Context) *grants.Set { return o.set }

func (o only) Refuse(_ context.Context, missing grants.Grant) error {
	return domain.Errorf(domain.Forbidden, "forbidden", "%s", missing)
}

// TestDiffOfMixedPoints: of a revision and a time, the earlier one is from.
func TestDiffOfMixedPoints(t *testing.T) {
	p := newPast(t, 1)
	first, second := p.set("a", "k", "1"), p.set("a", "k", "2")
	early, late := first.RecordedAt.Format(time.RFC3339Nano), second.RecordedAt.Format(time.RFC3339Nano)
	for _, c := range []struct {
		span   string
		events int // -1: refused
	}{
		{fmt.Sprintf(`"from":%d,"to":"%s"`, first.Revision, late), 1}, {fmt.Sprintf(`"from":"%s","to":%d`, early, second.Revision), 1},
		{fmt.Sprintf(`"from":%d,"to":"%s"`, second.Revision, late), 0}, {fmt.Sprintf(`"from":"%s"`, late), 0}, {fmt.Sprintf(`"from":0,"to":"%s"`, early), 1},
		{fmt.Sprintf(`"from":%d,"to":"%s"`, second.Revision, early), -1}, {fmt.Sprintf(`"from":"%s","to":%d`, late, first.Revision), -1},
		{fmt.Sprintf(`"from":%d,"to":"1969-01-01T00:00:00Z"`, second.Revision), -1}, {fmt.Sprintf(`"from":"%s","to":0`, early), -1},
	} {
		body, err := p.q.Ask(t.Context(), []string{"agent", "a", "diff"}, []byte("{"+c.span+"}"))
		var got struct{ Events []json.RawMessage }
		if err == nil {
			err = json.Unmarshal(body, &got)
		}
		var known *domain.Error
		if refused := errors.As(err, &known) && known.Code == "body.invalid"; refused != (c.events < 0) || !refused && (err != nil || len(got.Events) != c.events) {
			t.Errorf("%s: %s, %v", c.span, body, err)
		}
	}
}
