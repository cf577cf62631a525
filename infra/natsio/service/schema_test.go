package service

import (
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
)

// Every verb that the engine takes has its line, and no other.
func TestEveryVerbHasASchema(t *testing.T) {
	for name := range commandBodies {
		if aggregate, verb, ok := strings.Cut(name, "."); ok && name != "tasks.next" && !commands.Known(aggregate, verb) {
			t.Errorf("there is no command %s", name)
		}
	}
	for _, name := range commands.Verbs() {
		if _, ok := commandBodies[name]; !ok {
			t.Errorf("commandBodies has no line for %s", name)
		}
	}
}
