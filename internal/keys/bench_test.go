package keys_test

import (
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/internal/keys"
)

// A write of 256 bytes is encrypted and decrypted.
func BenchmarkSealOpen(b *testing.B) {
	m := newMemory()
	source := keys.Source{MasterKey: strings.Repeat("5a", 32)}
	r := keys.New(m, source.Load, nil)
	if _, err := r.Load(b.Context(), "d"); err != nil {
		b.Fatal(err)
	}
	ev := write("a1", strings.Repeat("v", 254))
	for b.Loop() {
		if err := r.Seal(b.Context(), ev, false); err != nil {
			b.Fatal(err)
		}
		if err := r.Open(b.Context(), ev); err != nil {
			b.Fatal(err)
		}
	}
}
