package hot

import (
	"strconv"
	"testing"
)

func TestSequenceCache(t *testing.T) {
	c := newSequenceCache(4)
	for i := range 5 {
		c.set(strconv.Itoa(i), cachedRow{uint64(i) + 1, 9})
	}
	for i, want := range []bool{false, false, true, true, true} {
		if w, ok := c.get(strconv.Itoa(i)); ok != want || ok && w != (cachedRow{uint64(i) + 1, 9}) {
			t.Errorf("key %d: %v %t", i, w, ok)
		}
	}
	c.set("2", cachedRow{7, 10}) // in both generations now
	if w, _ := c.get("2"); w != (cachedRow{7, 10}) {
		t.Errorf("key 2: %v", w)
	}
	c.remove("2")
	if w, ok := c.get("2"); ok {
		t.Errorf("a removed key: %v", w)
	}
	c.clear()
	if w, ok := c.get("4"); ok {
		t.Errorf("after clear: %v", w)
	}
}
