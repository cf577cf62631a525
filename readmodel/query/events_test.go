package query_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/query"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// appendEvents appends an event of so many entries of an agent.
func appendEvents(t testing.TB, h *history.History, agent string, n int, value string) {
	t.Helper()
	for i := range n {
		ev := events.Event{Type: events.StateSet, Aggregate: "agent", ID: agent, Key: fmt.Sprint("k", i), Version: 1, Digest: "d", Schema: 1,
			Timestamp: time.Now().UTC(), RecordedAt: time.Now().UTC(), Data: (&events.StateWrite{Value: []byte(value)}).Encode()}
		_, err := h.Append(t.Context(), history.Writes(events.StateEntry(agent, ev.Key), 0, agent+ev.Key, []events.Event{ev}))
		harness.Must(t, err)
	}
}

type eventsPage struct {
	Events []struct {
		Revision uint64
		ID, Key  string
	}
	Next, Head uint64
	Token      string
}

func readEvents(ctx context.Context, t testing.TB, q *query.Query, body string) (p eventsPage, size int) {
	t.Helper()
	b, err := q.Ask(ctx, []string{"events", "read"}, []byte(body))
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		t.Errorf("%s: %v\n%.300s", body, err, b)
	}
	return p, len(b)
}

// TestEventsRead: the pages together have every event once, in order, whatever ends
// them; a filter finds its events in one step.
func TestEventsRead(t *testing.T) {
	h := journaltest.History(t, 1)
	tail := projections.NewProgress(1)
	q := &query.Query{Rows: query.Rows{History: h}, Tail: tail}
	appendEvents(t, h, "a", 20, `"`+strings.Repeat("x", 100_000)+`"`)
	appendEvents(t, h, "b", 30, `1`)
	const head = 50
	for _, c := range []struct {
		body        string
		want, pages int
	}{
		{``, head, 4}, {`,"limit":1000`, head, 3}, {`,"limit":7`, head, 8}, {`,"subject":">","limit":1000`, head, 4},
		{`,"subject":"agent.a.>","limit":1000`, 20, 3}, {`,"subject":"agent.b.>"`, 30, 1}, {`,"subject":"agent.*.state.k3"`, 2, 1},
		{`,"subject":"agent.nobody.>"`, 0, 1}, {`,"subject":"task.*"`, 0, 1}, {`,"until":25,"limit":1000`, 25, 3}, {`,"until":9000,"partition":0`, head, 4},
	} {
		from, got, pages, last := uint64(1), 0, 0, uint64(0)
		for end := uint64(head); from <= end; pages++ {
			p, size := readEvents(t.Context(), t, q, fmt.Sprintf(`{"wait_ms":0,"from":%d%s}`, from, c.body))
			if strings.Contains(c.body, `"until":25`) {
				end = 25
			}
			if p.Next <= from || p.Head != head || size > readmodel.PageBytes+1000 || p.Token == "" {
				t.Fatalf("%s from %d: next %d, head %d, %d bytes", c.body, from, p.Next, p.Head, size)
			}
			for _, ev := range p.Events {
				if ev.Revision <= last {
					t.Errorf("%s: revision %d after %d", c.body, ev.Revision, last)
				}
				last = ev.Revision
			}
			from, got = p.Next, got+len(p.Events)
		}
		if got != c.want || pages > c.pages {
			t.Errorf("%s: %d events in %d pages, want %d in %d", c.body, got, pages, c.want, c.pages)
		}
	}
}

// TestEventsReadAhead: pages that were read ahead have every event once, in order.
func TestEventsReadAhead(t *testing.T) {
	h := journaltest.History(t, 1)
	q := &query.Query{Rows: query.Rows{History: h}}
	appendEvents(t, h, "a", 1700, `1`)
	last := uint64(0)
	for from := uint64(1); from <= 1700; {
		p, _ := readEvents(t.Context(), t, q, fmt.Sprintf(`{"wait_ms":0,"limit":500,"from":%d}`, from))
		for _, ev := range p.Events {
			if ev.Revision != last+1 {
				t.Fatalf("revision %d after %d", ev.Revision, last)
			}
			last = ev.Revision
		}
		if from = p.Next; p.Next != last+1 || p.Head != 1700 {
			t.Fatalf("next %d, head %d", p.Next, p.Head)
		}
	}
}

// TestEventsReadWaits: for the next event that the filter selects, also from a revision
// that is not there yet; an empty page is no error.
func TestEventsReadWaits(t *testing.T) {
	h := journaltest.History(t, 1)
	tail := projections.NewProgress(1)
	q := &query.Query{Rows: query.Rows{History: h}, Tail: tail}
	for body, next := range map[string]uint64{`{"wait_ms":1}`: 1, `{"wait_ms":0,"from":7}`: 7, `{"wait_ms":0,"from":0}`: 1, `{"wait_ms":1,"from":18446744073709551615}`: math.MaxUint64, `{"wait_ms":10,"from":3,"until":4}`: 3,
		`{"wait_ms":30000,"from":5,"until":4}`: 5, `{"wait_ms":30000,"until":0}`: 1} { // nothing is left: it does not wait

		if p, _ := readEvents(t.Context(), t, q, body); len(p.Events) != 0 || p.Next != next {
			t.Errorf("%s of an empty journal: %+v", body, p)
		}
	}
	for body, first := range map[string]uint64{
		`{"wait_ms":30000}`: 1, `{"wait_ms":30000,"from":2}`: 2, `{"wait_ms":30000,"subject":"agent.y.>"}`: 3, `{"wait_ms":30000,"subject":"*.y.>"}`: 3,
	} {
		h := journaltest.History(t, 1)
		tail := projections.NewProgress(1)
		q := &query.Query{Rows: query.Rows{History: h}, Tail: tail}
		answered := make(chan eventsPage, 1)
		go func() {
			p, _ := readEvents(t.Context(), t, q, body)
			answered <- p
		}()
		for i, agent := range []string{"w", "x", "y"} {
			appendEvents(t, h, agent, 1, "1")
			tail.Set(0, uint64(i)+1)
		}
		if p := harness.Receive(t, "an answer", answered); len(p.Events) == 0 || p.Events[0].Revision != first || p.Next <= first {
			t.Errorf("%s: %+v", body, p)
		}
	}
}

// TestEventsReadHoldsNothingWhileItWaits: it gives up its slot, and the end of the engine
// ends its wait with the page as it is.
func TestEventsReadHoldsNothingWhileItWaits(t *testing.T) {
	h := journaltest.History(t, 1)
	q := &query.Query{Rows: query.Rows{History: h}, Tail: projections.NewProgress(1)}
	stop, end := context.WithCancel(t.Context())
	left, taken := make(chan struct{}, 10), make(chan struct{}, 10)
	ctx := wait.WithSlot(t.Context(), &wait.Slot{
		Leave: func() error { left <- struct{}{}; return nil }, Enter: func() { taken <- struct{}{} }, Stop: stop,
	})
	answered := make(chan eventsPage, 1)
	go func() {
		p, _ := readEvents(ctx, t, q, `{"wait_ms":30000}`)
		answered <- p
	}()
	harness.Receive(t, "a wait", left)
	end()
	if p := harness.Receive(t, "an answer", answered); len(p.Events) != 0 || p.Next != 1 || len(left) > 0 || len(taken) != 1 {
		t.Errorf("%+v, after %d more waits", p, len(left))
	}
}

// BenchmarkEventsRead reads a page of 1,000 events.
func BenchmarkEventsRead(b *testing.B) {
	h := journaltest.History(b, 1)
	appendEvents(b, h, "a", 2000, `{"n":12345,"text":"some text of a value, as long as a sentence"}`)
	q := &query.Query{Rows: query.Rows{History: h}}
	for b.Loop() {
		readEvents(b.Context(), b, q, `{"from":500,"limit":1000}`)
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// changing are grants that change.
type changing struct{ set atomic.Pointer[grants.Set] }

func (c *changing) Grants(context.Context) *grants.Set { return c.set.Load() }

func (*changing) Refuse(_ context.Context, missing grants.Grant) error {
	return domain.Errorf(domain.Forbidden, "forbidden", "%s", missing)
}

// TestGrantsThatEndWhileAQueryWaits: it is answered by the grants that its sender has then.
func TestGrantsThatEndWhileAQueryWaits(t *testing.T) {
	g, err := grants.Parse("query agent:a*")
	harness.Must(t, err)
	less, err := grants.Parse("query agent:ab")
	harness.Must(t, err)
	for name, c := range map[string]struct {
		after *grants.Set
		want  string
	}{"all of them": {nil, "forbidden"}, "some": {grants.NewSet("", less), `"id":"ab"`}, "none": {nil, `"id":"a"`}} {
		t.Run(name, func(t *testing.T) {
			h := journaltest.History(t, 1)
			tail, authority := projections.NewProgress(1), &changing{}
			authority.set.Store(grants.NewSet("", g))
			q := &query.Query{Rows: query.Rows{History: h}, Tail: tail, Authority: authority}
			left := make(chan struct{}, 10)
			ctx := wait.WithSlot(t.Context(), &wait.Slot{Leave: func() error { left <- struct{}{}; return nil }, Enter: func() {}, Stop: t.Context()})
			answered := make(chan string, 1)
			go func() {
				body, err := q.Ask(ctx, []string{"events", "read"}, []byte(`{"wait_ms":30000,"limit":1}`))
				answered <- fmt.Sprint(string(body), err)
			}()
			harness.Receive(t, "a wait", left)
			if name != "none" {
				authority.set.Store(c.after)
			}
			appendEvents(t, h, "a", 1, "1")
			appendEvents(t, h, "ab", 1, "1")
			tail.Set(0, 2)
			got := harness.Receive(t, "an answer", answered)
			if !strings.Contains(got, c.want) || name != "none" && strings.Contains(got, `"id":"a"`) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestEventsReadOfNoName: a subject that no event can match is refused, and the error lists what there is.
func TestEventsReadOfNoName(t *testing.T) {
	q := &query.Query{Rows: query.Rows{History: journaltest.History(t, 1)}}
	for subject, code := range map[string]string{"agnet.a1.>": "subject.invalid", "agent.a1.k": "subject.invalid", "tasks.>": "subject.invalid", "task.*": ""} {
		_, err := q.Ask(t.Context(), []string{"events", "read"}, []byte(`{"wait_ms":0,"subject":"`+subject+`"}`))
		var known *domain.Error
		if errors.As(err, &known); (code == "") != (err == nil) || err != nil && (known.Code != code || !strings.Contains(known.Message, "agent.*.state.>")) {
			t.Errorf("%s: %v, want %q", subject, err, code)
		}
	}
}
