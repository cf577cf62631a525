package query

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

func BenchmarkAnswer(b *testing.B) {
	a := tiers.Answer{Entry: readmodel.Entry{Agent: "a", Key: "k", Value: []byte(`"` + strings.Repeat("v", 254) + `"`), Version: 7, Revision: 9, Digest: strings.Repeat("ab", 32)}, Source: tiers.FromMemory}
	b.ReportAllocs()
	for b.Loop() {
		encodeAnswer(&a, "token")
	}
}

// onePartition is a history that is never read.
type onePartition struct{ history.JournalStore }

func (onePartition) Partition(string) int { return 0 }

func (onePartition) Incarnation() string { return "q8058336" }

type tailPosition struct{ at atomic.Uint64 }

func (p *tailPosition) At(int) uint64 { return p.at.Load() }

// BenchmarkAsk measures one query: decode the body, read the row from memory, encode the reply.
func BenchmarkAsk(b *testing.B) {
	tail := &tailPosition{}
	m := tiers.NewMemory(tiers.MemoryConfig{Partitions: 1, Tail: tail})
	m.Start(0, 0)
	rows := Rows{history.New(onePartition{}, nil, 0)}
	q := &Query{Tiers: &tiers.Tiers{Memory: m, Journal: rows}, Rows: rows}
	bodies := make([][]byte, 1000)
	for i := range bodies {
		key := "k" + strconv.Itoa(i)
		bodies[i] = []byte(`{"key":"` + key + `"}`)
		m.Apply(0, readmodel.Entry{
			Agent: "agent-7", Key: key, Value: []byte(`"` + strings.Repeat("v", 254) + `"`), Timestamp: time.Unix(1, 0).UTC(),
			Version: 7, Revision: uint64(i + 1), Digest: strings.Repeat("ab", 32),
		}, false)
	}
	tail.at.Store(123456)
	tokens := []string{"agent", "agent-7", "get"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := q.Ask(b.Context(), tokens, bodies[i%len(bodies)]); err != nil {
			b.Fatal(err)
		}
	}
}
