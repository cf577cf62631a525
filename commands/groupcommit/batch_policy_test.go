package groupcommit

import (
	"testing"
	"time"
)

func TestPolicyLearnsTheDisk(t *testing.T) {
	for _, c := range []struct {
		name          string
		single, fixed time.Duration
		alone, batch  int // sizes that are appended in parallel, and as a batch; 0 = no size
	}{
		{"a slow disk", 2 * time.Millisecond, 4 * time.Millisecond, 1, 4},
		{"a fast disk", 180 * time.Microsecond, 3 * time.Millisecond, 12, 40},
		{"a disk that does not sync", 20 * time.Microsecond, 3 * time.Millisecond, 400, 0},
	} {
		var p policy
		if p.useBatch(1) || !p.useBatch(defaultMinimum) {
			t.Error("not measured: one append is no batch, defaultMinimum appends are")
		}
		for range 40 {
			p.measured(false, 10, 10*c.single)
			p.measured(true, 10, c.fixed+10*memberCost)
		}
		p.measured(false, 1, time.Hour) // a single append does not measure parallel ones
		if p.batchIsFaster(c.alone) || c.batch > 0 && !p.batchIsFaster(c.batch) {
			t.Errorf("%s: the smallest batch is %d", c.name, p.minimum())
		}
		explored, n := 0, 4*exploreEvery
		for range n {
			if p.useBatch(max(c.batch, defaultMinimum)) != p.batchIsFaster(max(c.batch, defaultMinimum)) {
				explored++
			}
		}
		if explored > n/exploreEvery {
			t.Errorf("%s: %d of %d decisions took the slower way", c.name, explored, n)
		}
	}
}
