package intake

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// A command does not wait until the stream has stored the thousands of another client, and a
// stream that is silent for long does not stop the others for good.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []string
		turns := &turns{queues: map[string]*turnQueue{}, send: func(m *nats.Msg) bool { all = append(all, m.Subject); return true }}
		sent := func() []string {
			turns.mu.Lock()
			defer turns.mu.Unlock()
			return slices.Clone(all)
		}
		add := func(client string, n int) {
			for range n {
				if err := turns.add(client, nats.NewMsg(client)); err != nil {
					t.Fatal(err)
				}
			}
		}
		add("greedy", 10_000)
		if len(sent()) != maxSent {
			t.Fatalf("%d are on their way, want %d", len(sent()), maxSent)
		}
		add("quiet", 2)
		add("another", 1)
		for range 5 {
			turns.answered()
		}
		if got := strings.Join(sent()[maxSent:], " "); got != "greedy quiet another greedy quiet" {
			t.Errorf("then come %s", got)
		}
		time.Sleep(answerTime + time.Second)
		synctest.Wait()
		if len(sent()) != 2*maxSent+5 {
			t.Errorf("%d were sent after a silence, want %d", len(sent()), 2*maxSent+5)
		}
		turns.close()
		if len(sent()) != 10_003 || turns.bytes != 0 || len(turns.queues) != 0 {
			t.Errorf("%d were sent at the end, %d bytes and %d clients are left", len(sent()), turns.bytes, len(turns.queues))
		}
		time.Sleep(2 * answerTime)
	})
}

// One client fills no more of the memory than it leaves to others.
func TestTurnsAreBounded(t *testing.T) {
	turns := &turns{queues: map[string]*turnQueue{}, send: func(*nats.Msg) bool { return true }, sent: maxSent, looking: true}
	big := &nats.Msg{Subject: "x", Data: make([]byte, 8<<20)}
	n := 0
	for turns.add("greedy", big) == nil {
		n++
	}
	if limit := endpointBytes / len(big.Data); n < limit/2-1 || n > limit/2+1 {
		t.Errorf("one client has %d of %d", n, limit)
	}
	if err := turns.add("quiet", big); err != nil {
		t.Error(err)
	}
}
