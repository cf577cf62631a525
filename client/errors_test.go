package client_test

import (
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/client"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// An error names what it is about: the servers, without their passwords, and the entry.
func TestErrorsNameThePlace(t *testing.T) {
	for _, url := range []string{"nats://me:secret@127.0.0.1:1", "nats://127.0.0.1:1,me:secret@127.0.0.1:2", "nats://me:x@/secret@127.0.0.1:1"} {
		if _, err := client.Connect(t.Context(), url); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "secret") {
			t.Errorf("connect to %s: %v", url, err)
		}
	}
	c := connect(t.Context())
	defer c.Close()
	a := c.Agent("errors")
	_, err := a.Set(t.Context(), "number", 5)
	harness.Must(t, err)
	if _, err := client.Get[string](t.Context(), a, "number"); err == nil || !strings.Contains(err.Error(), "number does not fit the type string") {
		t.Errorf("a number as a string: %v", err)
	}
}
