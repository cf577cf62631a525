package main

import (
	"slices"
	"testing"
)

// Memory is given back after 2, 6 and 30 quiet looks that follow a burst: not
// without one, not between the beats of a load, and not for ever.
func TestMemoryIsGivenBackInTheQuietAfterABurst(t *testing.T) {
	const burst, idle = quietBytes, quietBytes / 10
	var c calm
	var allocated uint64
	looks := func(n int, each uint64) (gave []int) {
		for i := range n {
			if allocated += each; c.look(allocated) {
				gave = append(gave, i+1)
			}
		}
		return gave
	}
	for i, step := range []struct {
		looks int
		each  uint64
		gave  []int
	}{
		{40, idle, nil},
		{3, burst, nil}, {1, idle, nil}, {1, burst, nil},
		{100, idle, []int{2, 6, 30}},
		{1, burst, nil}, {6, idle, []int{2, 6}}, {1, burst, nil}, {40, idle, []int{2, 6, 30}},
	} {
		if gave := looks(step.looks, step.each); !slices.Equal(gave, step.gave) {
			t.Errorf("step %d: gave back after %v quiet looks, want %v", i, gave, step.gave)
		}
	}
}
