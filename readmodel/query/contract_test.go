package query

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/internal/contract"
)

// Every query is declared with exactly the members that it takes, and no other.
func TestQueriesAreDeclared(t *testing.T) {
	for name, h := range handlers {
		var declared []string
		for _, f := range contract.Shape(contract.Queries[name].Body) {
			declared = append(declared, f.Name)
		}
		takes := strings.Fields(h.fields)
		slices.Sort(declared)
		slices.Sort(takes)
		if !slices.Equal(declared, takes) {
			t.Errorf("%s takes %v, and is declared with %v", name, takes, declared)
		}
	}
	for name := range contract.Queries {
		if !slices.Contains(Names(), name) {
			t.Errorf("there is no query %s", name)
		}
	}
}
