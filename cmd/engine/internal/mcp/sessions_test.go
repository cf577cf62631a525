package mcp

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A session ends when it is idle, or when it is idle for longest and there are too many; one
// with a request does not.
func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSessions(nil, Options{}, 1<<20)
		defer a.close()
		count := func() int {
			a.mu.Lock()
			defer a.mu.Unlock()
			return len(a.of)
		}
		first := a.begin()
		for range maxSessions - 1 {
			time.Sleep(time.Second)
			if !a.room() {
				t.Fatal("there is no room")
			}
			a.begin()
		}
		if !a.enter(first) || !a.room() || count() != maxSessions-1 || !a.enter(first) {
			t.Fatalf("%d sessions: one that is idle makes way, and not the busy one", count())
		}
		a.leave(first)
		a.begin()
		all := slices.Collect(maps.Keys(a.of))
		for _, id := range all {
			a.enter(id)
		}
		if a.room() {
			t.Error("a busy session makes way")
		}
		time.Sleep(2 * sessionIdle)
		if count() != maxSessions {
			t.Errorf("%d sessions: busy ones have ended", count())
		}
		for _, id := range all {
			a.leave(id)
		}
		a.leave(first)
		time.Sleep(sessionIdle + time.Second)
		if count() != 0 || a.enter(first) {
			t.Errorf("%d idle sessions stay", count())
		}
	})
}
