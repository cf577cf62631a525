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

// TestFullBucketCountsARowOnce: a row that a full bucket refuses with each of its events
// needs the room of one row, and of none once the bucket has it.
func TestFullBucketCountsARowOnce(t *testing.T) {
	cfg := smallBucket()
	cfg.MaxBytes, cfg.MaxValueSize, cfg.History = 64<<10, 32<<10, 1
	v := newHotView(t, cfg)
	fat := func(key string, revision uint64) readmodel.Entry {
		e := hotEntry(key, revision)
		e.Value = []byte(`"` + strings.Repeat(nats.NewInbox()[7:], 700) + `"`)
		return e
	}
	for r := uint64(1); r <= 4; r++ {
		v.apply(fat(fmt.Sprint("k", r), r), false)
	}
	for r := uint64(5); r <= 19; r++ {
		v.apply(fat("often", r), false)
	}
	if full := v.Full(); !strings.Contains(full, "AGENT_STATE is full") {
		t.Fatalf("a full bucket is not reported: %q", full)
	}
	larger := v.stream.CachedInfo().Config
	larger.MaxBytes = 128 << 10
	_, err := v.js.UpdateStream(t.Context(), larger)
	harness.Must(t, err)
	if err := v.Check(t.Context(), 0); err == nil {
		t.Error("the row that the bucket lacks is not put again when there is room for it")
	}
	if v.at, err = v.Load(t.Context(), 0, journalID(t, v)); err != nil {
		t.Fatal(err)
	}
	v.apply(fat("often", 19), false) // the view is folded again
	v.expect("often", 19)
}

// TestFullBucketHasTheRowAgain: a row that a full bucket lacked came with its next event.
func TestFullBucketHasTheRowAgain(t *testing.T) {
	cfg := smallBucket()
	cfg.MaxBytes, cfg.History = 64<<10, 1
	v := newHotView(t, cfg)
	large := hotEntry("k", 1)
	large.Value = []byte(`"` + strings.Repeat("v", 100<<10) + `"`)
	v.apply(large, false)
	if v.Full() == "" {
		t.Fatal("a full bucket is not reported")
	}
	v.apply(hotEntry("k", 2), false)
	v.expect("k", 2)
	if full := v.Full(); full != "" {
		t.Errorf("a bucket that has all rows is reported: %s", full)
	}
}
