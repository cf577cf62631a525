package verify

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// fakeJournal is an in-memory journal of one partition.
type fakeJournal struct {
	messages []history.Message
	chains   map[events.AggregateName]chainEnd
	head     uint64 // result of the first call of Head; later calls return the end
	cut      uint64
}

func (p *fakeJournal) Partitions() int { return 1 }
func (p *fakeJournal) ID() string      { return "paper" }

func (p *fakeJournal) Head(context.Context, int) (uint64, error) {
	head := p.head
	p.head = uint64(len(p.messages))
	return head, nil
}

func (p *fakeJournal) Trimmed(context.Context, int) (uint64, time.Time, error) {
	return p.cut, time.Time{}, nil
}

func (p *fakeJournal) Partition(string) int { return 0 }

func (p *fakeJournal) Range(_ context.Context, r history.Range, yield func(history.Message) error) error {
	for _, m := range p.messages {
		if m.Revision > r.After && (r.UpTo == 0 || m.Revision <= r.UpTo) && (r.Aggregate == "" || m.Name == r.Aggregate) {
			if err := yield(m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *fakeJournal) Ends(_ context.Context, names []events.AggregateName, _ history.Bound, _ history.Freshness) ([]history.Message, error) {
	ends := make([]history.Message, len(names))
	for _, m := range p.messages {
		for i, name := range names {
			if m.Name == name {
				ends[i] = m
			}
		}
	}
	return ends, nil
}

// write appends an event with a valid digest.
func (p *fakeJournal) write(t *testing.T, s events.AggregateName, typ, key, data, state string) *history.Message {
	t.Helper()
	last := p.chains[s]
	ev := events.Event{
		Type: typ, Aggregate: "x", ID: s.ID(), Key: key, Version: last.version + 1,
		Timestamp: time.Unix(1, 5).UTC(), RecordedAt: time.Now().UTC(), Data: jsontext.Value(data), State: jsontext.Value(state), Schema: 1,
	}
	var err error
	if ev.Digest, err = events.Chain(last.digest, &ev); err != nil {
		t.Fatal(err)
	}
	p.chains[s] = chainEnd{version: ev.Version, digest: ev.Digest}
	p.messages = append(p.messages, history.Message{Record: events.Record{Event: ev, Name: s, Revision: uint64(len(p.messages) + 1)}})
	return &p.messages[len(p.messages)-1]
}

func (p *fakeJournal) set(t *testing.T, agent, key, value string) Row {
	t.Helper()
	m := p.write(t, events.StateEntry(agent, key), events.StateSet, key, `{"value":`+value+`}`, "")
	c, err := readmodel.EntryOf(&m.Record)
	if err != nil {
		t.Fatal(err)
	}
	return EntryRow(&c.Entry)
}

func (p *fakeJournal) phase(t *testing.T, agent, typ, phase string) {
	t.Helper()
	p.write(t, events.Lifecycle(agent), typ, "", "{}", `{"phase":"`+phase+`"}`)
}

// verify compares rows with the journal, which had head events when it began, and returns the
// differences.
func (p *fakeJournal) verify(t *testing.T, head int, rows ...Row) (*Report, []string) {
	t.Helper()
	p.head = uint64(head)
	v := Verifier{Journal: p, Tiers: []Tier{{
		Name: "kv", Evicts: true, Keeps: map[string]time.Duration{readmodel.KindEntry: 30 * time.Minute, readmodel.KindTask: time.Hour},
		Each: func(_ context.Context, yield func(Row)) error {
			for _, r := range rows {
				yield(r)
			}
			return nil
		},
	}}}
	r, err := v.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, d := range r.Differences {
		keys = append(keys, d.Tier+" "+d.Key)
	}
	return r, keys
}

func TestVerifySkipsUnknownTypes(t *testing.T) {
	p := &fakeJournal{chains: map[events.AggregateName]chainEnd{}}
	p.write(t, "weather.berlin", "weather.measured", "", `{"c":21}`, "")
	a := p.set(t, "a", "k", "1")
	if _, got := p.verify(t, 2, a); got != nil {
		t.Errorf("an unknown type is no difference, got %v", got)
	}
	p.write(t, "weather.berlin", "weather.measured", "", `{"c":22}`, "").Digest = "changed"
	p.write(t, events.Task("t"), events.TaskCreated, "", `{}`, "") // carries no state
	p.messages = append(p.messages, history.Message{Bad: errors.New("torn"), Record: events.Record{Name: "agent.b.state.k", Revision: 5}})
	want := []string{"journal weather.berlin", "journal task.t", "journal agent.b.state.k"}
	if _, got := p.verify(t, 5, a); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestVerifyExcusesAbsences(t *testing.T) {
	p := &fakeJournal{chains: map[events.AggregateName]chainEnd{}}
	p.set(t, "silent", "k", "1")
	p.phase(t, "silent", events.Expired, "expired")
	back := p.set(t, "back", "k", "1")
	p.phase(t, "back", events.Expired, "expired")
	p.phase(t, "back", events.Hydrated, "active")
	p.set(t, "old", "k", "1")
	p.messages[len(p.messages)-1].RecordedAt = time.Now().Add(-time.Hour)
	p.chains = map[events.AggregateName]chainEnd{} // the changed time breaks its digest, which this test ignores
	head := len(p.messages)
	later := p.set(t, "new", "k", "1")

	r, got := p.verify(t, head, back, later)
	want := []string{"journal agent.old.state.k"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if c := r.Tiers[0].Counts; c.Expired != 2 || c.Equal != 1 || c.Newer != 1 {
		t.Errorf("%+v", c)
	}
	if _, got := p.verify(t, head, later); !slices.Contains(got, "kv back.k") {
		t.Errorf("an entry of an active agent is missing: %v", got)
	}
	p.phase(t, "back", events.Expired, "expired") // while verify runs
	p.messages[len(p.messages)-1].Version = 3
	if _, got := p.verify(t, head, later); slices.Contains(got, "kv back.k") {
		t.Errorf("an entry of an agent that expired meanwhile counts as missing: %v", got)
	}
}

// The same losing writes make the same row, however they are batched; another order, number or
// content makes another row.
func TestLossesAreOrdered(t *testing.T) {
	loss := func(version uint64, reason string) Row {
		return LossRow(&readmodel.Loss{Agent: "a", Key: "k", Version: version, Revision: version, Reason: reason, Digest: "d"})
	}
	roll := func(rows ...Row) (m rowSummary) {
		for i := range rows {
			m = m.after(&rows[i])
		}
		return m
	}
	one, two, other := loss(1, "x"), loss(2, "x"), loss(1, "y")
	same := roll(one, two)
	if !same.equal(roll(one, two)) {
		t.Error("the same losses differ")
	}
	for i, m := range []rowSummary{roll(two, one), roll(one), roll(two), roll(other, two), roll(one, one, two)} {
		if same.equal(m) {
			t.Errorf("case %d is equal", i)
		}
	}
}

// An archived event is known from the journal only at the same place with the same bytes.
func TestKnownEvents(t *testing.T) {
	p := &fakeJournal{chains: map[events.AggregateName]chainEnd{}}
	m := p.write(t, events.StateEntry("a", "k"), events.StateSet, "k", `{"value":1}`, "")
	m.Body = m.Encode()
	s := span{}
	for what, c := range map[string]struct {
		at        *history.Message
		name      events.AggregateName
		partition int
		revision  uint64
		body      []byte
		known     bool
	}{
		"the same":          {m, m.Name, 0, 1, slices.Clone(m.Body), true},
		"nothing read":      {nil, m.Name, 0, 1, m.Body, false},
		"another aggregate": {m, events.StateEntry("a", "l"), 0, 1, m.Body, false},
		"another partition": {m, m.Name, 1, 1, m.Body, false},
		"another revision":  {m, m.Name, 0, 2, m.Body, false},
		"another byte":      {m, m.Name, 0, 1, append(slices.Clone(m.Body), ' '), false},
		"unreadable":        {&history.Message{Record: m.Record, Body: m.Body, Bad: errors.New("damaged")}, m.Name, 0, 1, m.Body, false},
	} {
		s.journal = c.at
		if got := s.known(c.name, c.partition, c.revision, c.body); (got != nil) != c.known {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// A tier that differs has a digest of its own, an equal one that of the fold.
func TestDigestsOfTiers(t *testing.T) {
	p := &fakeJournal{chains: map[events.AggregateName]chainEnd{}}
	a, b := p.set(t, "a", "k", "1"), p.set(t, "b", "k", "2")
	changed := b
	changed.Content = append(slices.Clone(b.Content), ' ')
	digest := func(rows ...Row) string {
		found := map[rowKey]rowSummary{}
		for _, r := range rows {
			collect(found)(r)
		}
		return digestOf(found)
	}
	for what, rows := range map[string][]Row{
		"equal": {a, b}, "missing": {a}, "changed": {a, changed}, "more": {a, b, {Kind: readmodel.KindEntry, Name: "c.k"}}, "none": nil,
	} {
		r, _ := p.verify(t, 2, rows...)
		if got := r.Tiers[0].Digest; got != digest(rows...) || (got == r.Digest) != (what == "equal") {
			t.Errorf("%s: digest %s, want %s; the fold's is %s", what, got, digest(rows...), r.Digest)
		}
	}
}
