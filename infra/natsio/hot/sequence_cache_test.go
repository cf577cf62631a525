package hot

import (
	"strconv"
	"testing"
)

func TestRememberedKeys(t *testing.T) {
	r := newSequenceCache(4)
	for i := range 5 {
		r.set(strconv.Itoa(i), position{uint64(i) + 1, 9})
	}
	for i, want := range []bool{false, false, true, true, true} {
		if w, ok := r.get(strconv.Itoa(i)); ok != want || ok && w != (position{uint64(i) + 1, 9}) {
			t.Errorf("key %d: %v %t", i, w, ok)
		}
	}
	r.set("2", position{7, 10}) // in both generations now
	if w, _ := r.get("2"); w != (position{7, 10}) {
		t.Errorf("key 2: %v", w)
	}
	r.forget("2")
	if w, ok := r.get("2"); ok {
		t.Errorf("a forgotten key: %v", w)
	}
	r.forgetAll()
	if w, ok := r.get("4"); ok {
		t.Errorf("after forgetting all: %v", w)
	}
}
