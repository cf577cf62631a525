package hot_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestFillNeverOverwrites(t *testing.T) {
	v := newHotView(t, smallBucket())
	v.fill(hotEntry("k", 3))
	v.expect("k", 3)
	v.fill(hotEntry("k", 9))
	v.expect("k", 3)
	v.apply(hotEntry("k", 5), false)
	v.fill(hotEntry("k", 3))
	v.fill(hotEntry("k", 9))
	v.expect("k", 5)
}

func TestFillAheadOfViewStays(t *testing.T) {
	v := newHotView(t, smallBucket())
	v.fill(hotEntry("k", 9))
	v.apply(hotEntry("k", 5), false)
	v.expect("k", 9)
	v.apply(hotEntry("k", 9), false)
	v.expect("k", 9)
	v.apply(hotEntry("k", 10), true)
	v.expect("k", 0)
}

func TestFillDoesNotRestoreDeletedKey(t *testing.T) {
	v := newHotView(t, smallBucket())
	v.apply(hotEntry("k", 1), false)
	v.apply(hotEntry("k", 2), true)
	v.fill(hotEntry("k", 1))
	v.expect("k", 0)
	v.apply(hotEntry("never", 3), true) // no value, but a fill may be in progress
	v.fill(hotEntry("never", 2))
	v.expect("never", 0)
	v.apply(hotEntry("k", 4), false)
	v.expect("k", 4)
}

func TestEvictedKeyIsFilledWithSameOrNewerRevision(t *testing.T) {
	v := newHotView(t, smallBucket())
	v.apply(hotEntry("k", 4), false)
	v.apply(hotEntry("gone", 5), true)
	other := hotEntry("k", 6)
	other.Agent = "a12"
	v.apply(other, false)
	evict := func() {
		t.Helper()
		if err := v.Evict(t.Context(), "a1"); err != nil {
			t.Fatal(err)
		}
		v.expect("k", 0)
	}
	evict()
	v.fill(hotEntry("k", 3))
	v.expect("k", 0)
	v.fill(hotEntry("k", 4))
	v.expect("k", 4)
	evict()
	v.apply(hotEntry("k", 7), false)
	v.expect("k", 7)
	evict()
	evict()                  // no keys left
	v.fill(hotEntry("k", 9)) // ahead of the view
	v.expect("k", 9)
	v.fill(hotEntry("gone", 4))
	v.expect("gone", 0)
	if e, found, err := v.Get(t.Context(), "a12", "k"); err != nil || !found || e.Revision != 6 {
		t.Errorf("another agent's key is at %d, %t, %v", e.Revision, found, err)
	}
}

// A rejected value removes the older one, and a concurrent fill does not restore
// that.
func TestFillDoesNotRestoreRejectedKey(t *testing.T) {
	cfg := smallBucket()
	cfg.MaxValueSize = 2000
	v := newHotView(t, cfg)
	v.apply(hotEntry("k", 1), false)
	big := hotEntry("k", 2)
	big.Value = []byte(`"` + strings.Repeat("v", 4000) + `"`)
	v.apply(big, false)
	v.expect("k", 0)
	v.fill(hotEntry("k", 1))
	v.expect("k", 0)
	v.apply(hotEntry("k", 3), false)
	v.expect("k", 3)
}

func TestFullBucketKeepsNoOldValue(t *testing.T) {
	cfg := smallBucket()
	cfg.MaxBytes, cfg.MaxValueSize, cfg.History = 64<<10, 32<<10, 1
	v := newHotView(t, cfg)
	fat := func(key string, revision uint64) readmodel.Entry {
		e := hotEntry(key, revision)
		// Random, so that compression does not free space.
		e.Value = []byte(`"` + strings.Repeat(nats.NewInbox()[7:], 700) + `"`)
		return e
	}
	for r := uint64(1); r <= 12; r++ {
		v.apply(fat(fmt.Sprint("k", r%4), r), false)
	}
	for r := uint64(9); r <= 12; r++ {
		if e, found, err := v.Get(t.Context(), "a1", fmt.Sprint("k", r%4)); err != nil || found && e.Revision != r {
			t.Errorf("k%d is at %d, %v; want %d or nothing", r%4, e.Revision, err, r)
		}
	}
	if full := v.Full(); !strings.Contains(full, "AGENT_STATE is full") {
		t.Errorf("a full bucket is not reported: %q", full)
	}
	larger := v.stream.CachedInfo().Config
	larger.MaxBytes = 1 << 20
	_, err := v.js.UpdateStream(t.Context(), larger)
	harness.Must(t, err)
	if err := v.Check(t.Context(), 0); err == nil || v.Full() != "" {
		t.Errorf("rows that a full bucket lacks are not put again when there is room: %v, %q", err, v.Full())
	}
	_, err = v.Load(t.Context(), 0, journalID(t, v))
	harness.Must(t, err)
	harness.Must(t, v.Check(t.Context(), 0))
}
