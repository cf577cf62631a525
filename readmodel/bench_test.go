package readmodel

import (
	"strconv"
	"strings"
	"testing"
)

// A row that memory has, through all that a read does, beside the bare cache.
func BenchmarkTieredRead(b *testing.B) {
	m, _ := following(1)
	tiers := &Tiers{Memory: m, Past: &truth{}}
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = "k" + strconv.Itoa(i)
		m.Pass(0, Entry{Agent: "a", Key: keys[i], Value: []byte(`"` + strings.Repeat("v", 254) + `"`), Version: 1, Revision: uint64(i + 1)}, false)
	}
	b.Run("tiers", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if a, err := tiers.Get(b.Context(), "a", keys[i%len(keys)], Cached, 0); err != nil || a.Source != FromMemory {
				b.Fatal(a.Source, err)
			}
		}
	})
	b.Run("cache", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, ok := m.get("a", keys[i%len(keys)]); !ok {
				b.Fatal("the cache has lost a row")
			}
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	a := Answer{Entry: Entry{Agent: "a", Key: "k", Value: []byte(`"` + strings.Repeat("v", 254) + `"`), Version: 7, Revision: 9, Digest: strings.Repeat("ab", 32)}, Source: FromMemory}
	b.ReportAllocs()
	for b.Loop() {
		a.encode("token")
	}
}

// The whole question: its body is read, memory has the row, the reply is encoded.
func BenchmarkAsk(b *testing.B) {
	m, tail := following(1)
	q := &Questions{Tiers: &Tiers{Memory: m, Past: &truth{}}}
	bodies := make([][]byte, 1000)
	for i := range bodies {
		key := "k" + strconv.Itoa(i)
		bodies[i] = []byte(`{"key":"` + key + `"}`)
		m.Pass(0, Entry{
			Agent: "agent-7", Key: key, Value: []byte(`"` + strings.Repeat("v", 254) + `"`), Timestamp: kept.Timestamp,
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
