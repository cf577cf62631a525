package commands

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

// The size of a head includes its event's bytes only if its state shares them.
func TestTheSizeOfAHead(t *testing.T) {
	set := events.Event{Type: events.StateSet, Version: 1, Data: []byte(`{"value":"` + strings.Repeat("v", 1000) + `","request":"r"}`)}
	entry := bindEntry(agent.Write{Agent: "a", Key: "k"}, request{}, 0).fold
	for name, c := range map[string]struct {
		fold func(*events.Event) (any, error)
		want int
	}{
		"an entry":           {entry, 0},
		"the end of a loser": {stateless, 0},
		"a document":         {func(ev *events.Event) (any, error) { return ev.Data, nil }, len(set.Data)},
	} {
		h, err := headOf(&events.Record{Event: set}, c.fold)
		if err != nil || h.bytes != c.want {
			t.Errorf("%s: %d bytes, want %d, %v", name, h.bytes, c.want, err)
		}
		if e, ok := h.cached().state.(agent.Entry); ok && e.Value != nil {
			t.Errorf("%s holds its value", name)
		}
	}
}

// A small value stays in memory, with a size, and shares nothing with its event.
func TestASmallValueIsCached(t *testing.T) {
	set := events.Event{Type: events.StateSet, Version: 1, Data: []byte(`{"value":12345,"request":"r"}`)}
	h, err := headOf(&events.Record{Event: set}, bindEntry(agent.Write{Agent: "a", Key: "k"}, request{}, 0).fold)
	if err != nil {
		t.Fatal(err)
	}
	c := h.cached()
	clear(set.Data)
	if e := c.state.(agent.Entry); string(e.Value) != "12345" || c.bytes != 5 {
		t.Errorf("%q, %d bytes", e.Value, c.bytes)
	}
}

func TestHeadsAreBoundedInBytes(t *testing.T) {
	const budget = 1 << 20
	h := newHeads(budget)
	for i := range 10_000 {
		h.put(events.StateEntry("a", fmt.Sprint("k", i)), &head{bytes: 1000})
	}
	h.cache.CleanUp()
	if n := h.cache.EstimatedSize(); n == 0 || n*(headOverhead+1000) > budget {
		t.Errorf("%d heads of %d bytes are kept in %d", n, headOverhead+1000, budget)
	}
}
