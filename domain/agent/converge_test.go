package agent_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/domain/domaintest"
)

// sent is one write under its command id.
type sent struct {
	agent.Write
	id string
}

// Under the timestamp strategy any order of the same writes ends the same:
// that of the greatest (timestamp, writer, command id).
func TestTimestampStrategyConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		writes := make([]sent, rapid.IntRange(1, 8).Draw(t, "writes"))
		for i := range writes {
			w := drawWrite(t)
			w.Strategy, w.ExpectedVersion = agent.Timestamp, nil
			w.Timestamp = domaintest.Time(t, "time")
			w.Writer = rapid.SampledFrom([]string{"", "a", "b", "aa"}).Draw(t, "who")
			writes[i] = sent{w, fmt.Sprintf("id-%d", i)}
		}
		first := play(t, writes)
		for range 4 {
			again := rapid.Permutation(writes).Draw(t, "order")
			other := play(t, again)
			if string(first.Value) != string(other.Value) || first.Exists != other.Exists ||
				!first.Timestamp.Equal(other.Timestamp) || first.Writer != other.Writer || first.CommandID != other.CommandID {
				t.Fatalf("one order ends in %+v, another in %+v", first, other)
			}
		}
		greatest := writes[0]
		for _, w := range writes[1:] {
			if less(greatest, w) {
				greatest = w
			}
		}
		if first.CommandID != greatest.id || first.Exists == greatest.Delete || string(first.Value) != string(greatest.Value) {
			t.Fatalf("%+v won over %+v", first, greatest)
		}
	})
}

func less(a, b sent) bool {
	if !a.Timestamp.Equal(b.Timestamp) {
		return a.Timestamp.Before(b.Timestamp)
	}
	if a.Writer != b.Writer {
		return a.Writer < b.Writer
	}
	return a.id < b.id
}

// play carries the writes out one after the other, on clocks that differ.
func play(t *rapid.T, writes []sent) agent.Entry {
	var e agent.Entry
	for i, w := range writes {
		now := base.Add(time.Duration(i%3) * time.Hour)
		d := agent.DecideEntry(e, w.Write, domain.Metadata{Now: now, CommandID: w.id})
		if d.Refusal != nil {
			t.Fatalf("%+v on %+v is refused: %v", w, e, d.Refusal)
		}
		for _, ev := range d.Events {
			ev.Version, ev.CommandID = e.Version+1, w.id
			next, err := agent.EvolveEntry(e, &ev)
			if err != nil {
				t.Fatal(err)
			}
			e = next
		}
	}
	return e
}
