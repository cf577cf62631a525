package query

import (
	"strings"
	"testing"

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
