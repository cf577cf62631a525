package service

import (
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/internal/contract"
)

// Every verb that the engine takes is declared, and no other.
func TestEveryVerbIsDeclared(t *testing.T) {
	for name := range contract.Commands {
		if aggregate, verb, ok := strings.Cut(name, "."); ok && name != contract.TasksNext && !commands.Known(aggregate, verb) {
			t.Errorf("there is no command %s", name)
		}
	}
	for _, name := range commands.Verbs() {
		if _, ok := contract.Commands[name]; !ok {
			t.Errorf("%s is not declared", name)
		}
	}
}

// The metadata of both endpoints fits into an answer to $SRV.INFO on any server.
func TestMetadataIsSmall(t *testing.T) {
	size := 0
	for _, endpoint := range []string{"commands", "queries"} {
		for _, text := range schemaOf(endpoint) {
			size += len(text)
		}
	}
	if size > 200<<10 {
		t.Errorf("the schemas have %d bytes", size)
	}
	t.Log(size, "bytes")
}
