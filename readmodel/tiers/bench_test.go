package tiers

import (
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// BenchmarkTieredRead reads a cached row through Tiers.Get, and from the cache alone.
func BenchmarkTieredRead(b *testing.B) {
	m, _ := following(1)
	tiers := &Tiers{Memory: m, Journal: &fakeJournal{}}
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = "k" + strconv.Itoa(i)
		m.Apply(0, readmodel.Entry{Agent: "a", Key: keys[i], Value: []byte(`"` + strings.Repeat("v", 254) + `"`), Version: 1, Revision: uint64(i + 1)}, false)
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
