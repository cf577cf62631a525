package lifecycle

import (
	"context"
	"slices"
	"testing"
	"time"
)

// TestAStepThatHangs: the time of all steps ends, and with it the wait for those that a
// store does not answer. The engine's own servers are waited for.
func TestAStepThatHangs(t *testing.T) {
	var s Stops
	var order []string
	ended := make(chan struct{})
	defer close(ended)
	s.AddServer(func(ctx context.Context) {
		time.Sleep(2 * lateStep)
		order = append(order, "server")
	})
	for range 3 {
		s.Add(func(context.Context) { <-ended })
	}
	s.Add(func(context.Context) { order = append(order, "first") })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the stop waits for a step that hangs")
	}
	if want := []string{"first", "server"}; !slices.Equal(order, want) {
		t.Errorf("stopped %q, want %q", order, want)
	}
}
