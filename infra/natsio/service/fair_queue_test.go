package service

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Clients take turns, and the work of one is in order although two workers run.
func TestFairQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newFairQueue()
		var mu sync.Mutex
		done := map[string][]int{}
		order := make(chan string, 1000)
		for range 2 {
			go q.run()
		}
		add := func(client string, n int) {
			for i := range n {
				q.add(client, func() {
					time.Sleep(time.Millisecond)
					mu.Lock()
					done[client] = append(done[client], i) // only one work of a client is under way
					mu.Unlock()
					order <- client
				})
			}
		}
		if !q.idle("greedy") {
			t.Error("nothing has come yet")
		}
		add("greedy", 100)
		time.Sleep(10 * time.Millisecond)
		add("late", 3)
		if q.idle("late") || q.idle("greedy") {
			t.Error("both have work")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		close(order)
		var all []string
		for client := range order {
			all = append(all, client)
		}
		if last := slices.Index(all[13:], "greedy"); len(all) != 103 || last < 0 || slices.Index(all, "late") > 14 {
			t.Errorf("%q", all)
		}
		for client, got := range done {
			if !slices.IsSorted(got) {
				t.Errorf("%s: %v", client, got)
			}
		}
		if !q.idle("late") || !q.idle("greedy") {
			t.Error("all is done")
		}
		q.close()
	})
}
