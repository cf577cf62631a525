package cli

import (
	"errors"
	"testing"
	"time"
)

// TestAskedWait: the time that a request asks the engine to wait is no time in which the
// engine does not answer.
func TestAskedWait(t *testing.T) {
	for body, want := range map[string]time.Duration{
		`{"agent_id":"w","wait_ms":30000}`: 30 * time.Second, `{"wait_ms":60000}`: time.Minute, `{"wait_ms":60001}`: 0, `{"wait_ms":-1}`: 0,
		`{"wait_ms":"1"}`: 0, `{}`: 0, ``: 0, `[1]`: 0, `no JSON`: 0,
	} {
		if got := askedWait([]byte(body)); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}

// TestRefusedInABatch: a batch of which a command was refused has failed, for a script too.
func TestRefusedInABatch(t *testing.T) {
	for answer, want := range map[string]bool{
		`{"results":[{"receipt":{"id":"a1"}},{"error":{"kind":"conflict"}}]}`: true, `{"results":[{"error":{"code":"x"}}]}`: true,
		`{"results":[{"receipt":{"id":"a1"}},{"receipt":{"error":1}}]}`: false, `{"results":[]}`: false,
	} {
		if got := errors.Is(refusedIn([]byte(answer)), ErrFailed); got != want {
			t.Errorf("%s: %v", answer, got)
		}
	}
}
