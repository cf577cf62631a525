package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/readmodel"
)

func message(revision uint64, name, key, state string, size int) history.Message {
	aggregate, id, _ := events.Pattern(name).Of()
	m := history.Message{Record: events.Record{Name: events.AggregateName(name), Revision: revision}}
	m.Type, m.Aggregate, m.ID, m.Key, m.State = "t", aggregate, id, key, []byte(state)
	m.Body = fmt.Appendf(nil, `{"type":"t","data":"%s"}`, strings.Repeat("x", size))
	return m
}

// fill adds messages until the page is full, and returns how many it took.
func fill(t *testing.T, p *eventPage, m history.Message, max int) (taken int) {
	t.Helper()
	for ; taken < max; taken++ {
		m.Revision = p.next
		before := p.next
		err := p.add(m)
		if err != nil && !errors.Is(err, errFull) {
			t.Fatal(err)
		}
		if p.next > before && err != nil {
			taken++
		}
		if err != nil {
			break
		}
	}
	return taken
}

func newPage(limit int, pattern events.Pattern, set *grants.Set) *eventPage {
	return &eventPage{pattern: pattern, limit: limit, next: 1, until: 1 << 60, room: 16 << 20, permission: &permission{set: set}, body: []byte(`{"events":[`)}
}

// TestEventPageBounds: a page ends at its limit, at its bytes, and where it has read
// enough that it does not show; next is after what it has read.
func TestEventPageBounds(t *testing.T) {
	all := grants.Unrestricted()
	small := newPage(1000, "", all)
	small.room = 64_000
	for name, c := range map[string]struct {
		page                *eventPage
		size                int
		taken, count, bytes int
	}{
		"limit":         {newPage(7, "", all), 10, 7, 7, 1000},
		"bytes":         {newPage(1000, "", all), 100_000, 7, 7, readmodel.PageBytes + 100},
		"one large":     {newPage(1000, "", all), 2 * readmodel.PageBytes, 1, 1, 2*readmodel.PageBytes + 1000},
		"max_payload":   {small, 10_000, 6, 6, 64_000},
		"filter":        {newPage(10, "task.>", all), 10, maxScan, 0, 1000},
		"grants":        {newPage(10, "", setOf(t, "query agent:bob-*")), 10, maxScan, 0, 1000},
		"filter, large": {newPage(10, "task.>", all), 10 << 20, 7, 0, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			taken := fill(t, c.page, message(0, "agent.a.state.k", "k", "", c.size), 2*maxScan)
			if taken != c.taken || c.page.count != c.count || c.page.next != uint64(taken)+1 || len(c.page.body) > c.bytes {
				t.Errorf("took %d, shows %d of %d bytes, next is %d", taken, c.page.count, len(c.page.body), c.page.next)
			}
			if !json.Valid(append(c.page.body, `]}`...)) {
				t.Errorf("%.200s", c.page.body)
			}
		})
	}
}

// TestEventPageOfTooLargeAnEvent: what no answer can hold is an error that says where to
// go on, after a page with the events before it.
func TestEventPageOfTooLargeAnEvent(t *testing.T) {
	p := newPage(10, "", grants.Unrestricted())
	p.room = 64_000
	large := message(2, "agent.a.state.k", "k", "", 64_000)
	if err := p.add(message(1, "agent.a.state.k", "k", "", 1)); err != nil {
		t.Error(err)
	}
	if err := p.add(large); !errors.Is(err, errFull) || p.next != 2 {
		t.Errorf("%v, next is %d", err, p.next)
	}
	p = newPage(10, "", grants.Unrestricted())
	p.room = 64_000
	var no *domain.Error
	if err := p.add(large); !errors.As(err, &no) || no.Code != "event.too_large" || !strings.Contains(no.Message, "go on from 3") {
		t.Error(err)
	}
}

// TestEventPageShowsWhatIsGranted: each event by its aggregate, id and key.
func TestEventPageShowsWhatIsGranted(t *testing.T) {
	entry, other := message(1, "agent.a.state.mood.now", "mood.now", "", 1), message(1, "agent.a.state.plan", "plan", "", 1)
	phase, loser := message(1, "agent.a.lifecycle", "", "", 1), message(1, "agent.a.conflict.plan", "plan", "", 1)
	config, session := message(1, "config.a.k", "k", "", 1), message(1, "session.s", "", "", 1)
	mine, nobodys := message(1, "task.t", "", `{"agent_id":"bob-1"}`, 1), message(1, "task.t", "", `{}`, 1)
	alices := message(1, "task.t", "", `{"agent_id":"alice"}`, 1)
	damaged := message(1, "agent.a.state.plan", "", "", 1)
	damaged.Bad = errors.New("damaged")
	later := message(1, "agent.a.state.plan", "", "", 1) // its key is in its name alone
	later.Bad = fmt.Errorf("decode: %w", events.ErrNewer)
	for _, c := range []struct {
		grant string
		want  []history.Message
		hides []history.Message
	}{
		{"query *:*", []history.Message{entry, other, phase, loser, config, session, mine, nobodys, alices}, []history.Message{damaged}},
		{"query events:*", []history.Message{entry, phase, config, session, alices}, nil},
		{"query events:a read", []history.Message{entry, phase, config}, []history.Message{session, alices}},
		{"query agent:a", []history.Message{entry, other, phase, loser, later}, []history.Message{config, session, mine}},
		{"query agent:a.mood.*", []history.Message{entry}, []history.Message{other, phase, loser, config, later}},
		{"query agent:a get", nil, []history.Message{entry, phase}},
		{"query agent:a history", []history.Message{entry, other, phase, loser}, []history.Message{config}},
		{"query agent:b*", nil, []history.Message{entry, other, phase, loser, config, session}},
		{"query session:*", []history.Message{session}, []history.Message{entry, mine}},
		{"query task:* when holder", []history.Message{mine, nobodys}, []history.Message{alices, session}},
		{"command *:*", nil, []history.Message{entry, session, nobodys}},
	} {
		p := newPage(10, "", setOf(t, c.grant))
		for i := range c.want {
			if !p.shows(&c.want[i]) {
				t.Errorf("%s hides %s %s", c.grant, c.want[i].Name, c.want[i].State)
			}
		}
		for i := range c.hides {
			if p.shows(&c.hides[i]) {
				t.Errorf("%s shows %s %s", c.grant, c.hides[i].Name, c.hides[i].State)
			}
		}
	}
}

// TestEventPageOfALaterBuild: a page ends before an event that this build cannot read,
// and the next one fails, so that no event is left out.
func TestEventPageOfALaterBuild(t *testing.T) {
	p := newPage(10, "", grants.Unrestricted())
	later := message(2, "agent.a.state.k", "", "", 1)
	later.Bad = fmt.Errorf("decode: %w", events.ErrNewer)
	if err := p.add(message(1, "agent.a.state.k", "k", "", 1)); err != nil {
		t.Error(err)
	}
	if err := p.add(later); !errors.Is(err, errFull) || p.next != 2 {
		t.Errorf("%v, next is %d", err, p.next)
	}
	p = newPage(10, "", grants.Unrestricted())
	if err := p.add(later); !errors.Is(err, events.ErrNewer) || p.next != 1 {
		t.Errorf("%v, next is %d", err, p.next)
	}
}
