package intake

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// One client fills no more of COMMANDS than it leaves to others; what was executed, or what
// the server does not say, counts against no client.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room, size = 1 << 20, 1<<10 - storedOverhead
		used, oldest, failed := int64(0), time.Time{}, error(nil)
		b := &backlog{look: func(context.Context) (int64, int64, time.Time, error) { return room, used, oldest, failed }}
		fill := func(client string, most int) (n int) {
			for ; n < most; n++ {
				_, err := b.enter(client, size, time.Now())
				if synctest.Wait(); err != nil { // the look that it began has ended
					break
				}
				if used += 1 << 10; oldest.IsZero() {
					oldest = time.Now()
				}
			}
			time.Sleep(lookEvery)
			synctest.Wait()
			return n
		}
		failed = errors.New("no server")
		if n := fill("quiet", 10); n != 10 {
			t.Fatalf("%d commands before the server has said anything", n)
		}
		failed = nil
		fill("quiet", 1)
		if n := fill("greedy", 1000); n < 490 || n > 520 {
			t.Errorf("one client has %d of 1024", n)
		}
		if n := fill("greedy", 1000); n != 0 {
			t.Errorf("it gets %d more", n)
		}
		if n := fill("another", 1000); n < 240 || n > 260 {
			t.Errorf("a second one has %d of those that are free", n)
		}
		if n := fill("quiet", 100); n != 100 {
			t.Errorf("an honest one gets %d of 100", n)
		}

		used, oldest = 0, time.Time{} // all are executed
		time.Sleep(2 * storeTime)
		fill("quiet", 1)
		if n := fill("greedy", 100); n != 100 || len(b.clients) != 2 {
			t.Errorf("afterwards it gets %d, and %d clients are remembered", n, len(b.clients))
		}

		// One command waits for long. A client whose others are executed does not wait for it.
		for range 5 * room >> 20 * 1024 / 100 {
			if n := fill("steady", 100); n != 100 {
				t.Fatalf("a client whose commands are executed gets %d of 100", n)
			}
			used = 1 << 10
		}
	})
}

// The age of the oldest command is the server's, whose clock may be ahead or behind: the bound of
// a client, and what metrics say, go by it.
func TestOldestCommandOfAnotherClock(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		now := time.Now()
		server := now.Round(0).Add(ahead)
		info := &jetstream.StreamInfo{TimeStamp: server, State: jetstream.StreamState{Msgs: 1, FirstTime: server.Add(-time.Minute)}}
		if got := now.Sub(firstStoredAt(info, now)); got != time.Minute {
			t.Errorf("server ahead by %v: stored %v ago, want a minute", ahead, got)
		}
	}
}
