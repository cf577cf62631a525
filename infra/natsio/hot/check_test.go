package hot

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestTheServersClock: rows lapse by the clock of their server, however far it is from this
// engine's: so goes their age, and whether rows that are gone have lapsed or were lost.
func TestTheServersClock(t *testing.T) {
	const ttl = time.Minute
	for name, ahead := range map[string]time.Duration{"the same": 0, "ahead": time.Hour, "behind": -time.Hour} {
		now := time.Now().Round(0).Add(ahead)
		tier, b := &Hot{seen: map[*Bucket]bucketState{}}, &Bucket{}
		info := func(first uint64, subjects uint64) *jetstream.StreamInfo {
			return &jetstream.StreamInfo{Config: jetstream.StreamConfig{MaxAge: ttl}, TimeStamp: now,
				State: jetstream.StreamState{FirstSeq: first, LastSeq: 10, NumSubjects: subjects}}
		}
		tier.see(b, info(1, 10))
		if age := b.age(now.Add(-30 * time.Second)).Round(time.Second); age != 30*time.Second {
			t.Errorf("%s: a row of 30 s is %v old", name, age)
		}
		young := bucketState{lastSeq: 10, lastTime: now.Add(-30 * time.Second), subjects: 10}
		old := bucketState{lastSeq: 10, lastTime: now.Add(-2 * ttl), subjects: 10}
		if gone := info(11, 0); !young.lostRows(gone) || old.lostRows(gone) {
			t.Errorf("%s: rows of 30 s are lost: %v, of two minutes: %v", name, young.lostRows(gone), old.lostRows(gone))
		}
	}
}
