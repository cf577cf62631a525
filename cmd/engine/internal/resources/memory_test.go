package resources

import "testing"

// Memory is returned in the quiet looks that follow a burst: not without one,
// not during one, and not for ever.
func TestMemoryIsReturnedAfterABurst(t *testing.T) {
	const idle = burstBytes / 10
	var m Memory
	var allocated uint64
	for i, step := range []struct {
		looks    int
		each     uint64
		returned int
	}{
		{40, idle, 0}, {3, burstBytes, 0}, {1, idle, 1}, {1, burstBytes, 0}, {100, idle, quietLooks},
		{1, burstBytes, 0}, {6, idle, 6}, {1, burstBytes, 0}, {40, idle, quietLooks},
	} {
		returned := 0
		for range step.looks {
			if allocated += step.each; m.quiet(allocated) {
				returned++
			}
		}
		if returned != step.returned {
			t.Errorf("step %d: memory was returned %d times, want %d", i, returned, step.returned)
		}
	}
}
