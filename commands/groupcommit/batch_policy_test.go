package groupcommit

import (
	"testing"
	"time"
)

// From how many members on a batch pays depends on the disk, and is learned.
func TestCostsLearnTheDisk(t *testing.T) {
	for _, c := range []struct {
		name          string
		single, fixed time.Duration
		alone, batch  int // sizes that go as singles, and as a batch
	}{
		{"a slow disk", 2 * time.Millisecond, 4 * time.Millisecond, 1, 4},
		{"a quick disk", 180 * time.Microsecond, 3 * time.Millisecond, 12, 40},
		{"a disk that does not wait", 20 * time.Microsecond, 3 * time.Millisecond, 400, 0},
	} {
		var k costs
		if k.together(1) || !k.together(groupLeast) {
			t.Error("unlearned: one goes alone, some go together")
		}
		for range 40 {
			k.learn(false, 10, 10*c.single)
			k.learn(true, 10, c.fixed+10*memberCost)
		}
		k.learn(false, 1, time.Hour) // one alone says nothing of many
		if k.worth(c.alone) || c.batch > 0 && !k.worth(c.batch) {
			t.Errorf("%s: a batch pays from %d members on", c.name, k.least())
		}
		other, n := 0, 4*lookEvery
		for range n {
			if k.together(max(c.batch, groupLeast)) != k.worth(max(c.batch, groupLeast)) {
				other++
			}
		}
		if other > n/lookEvery {
			t.Errorf("%s: %d of %d rounds went the other way", c.name, other, n)
		}
	}
}
