package hot_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// Of an erased agent one message of each key stays, also of keys that were deleted before it,
// and nothing of another agent is touched.
func TestAnErasedAgentKeepsItsTombstones(t *testing.T) {
	nc := support.Engine(t, support.NATS(t))
	b := openBucket(t, nc, smallBucket())
	js := support.JetStream(t, nc)
	put := func(key, body string) {
		var h nats.Header
		if body == "" {
			h = nats.Header{jetstream.MarkerReasonHeader: {"Remove"}, "KV-Operation": {"DEL"}}
		}
		_, err := js.PublishMsgAsync(&nats.Msg{Subject: "$KV.AGENT_STATE." + key, Header: h, Data: []byte(body)})
		harness.Must(t, err)
	}
	keys := harness.Rounds(300, 20_000)
	for _, early := range []bool{false, true} { // a key that was deleted first
		agent := fmt.Sprint("erased-", early)
		if early {
			put(agent+".early", "a value")
			put(agent+".early", "")
		}
		for _, body := range []string{"a value", "another", ""} {
			for i := range keys {
				put(fmt.Sprint(agent, ".k", i), body)
			}
		}
		put("other.k", "1")
		put("other.k", "2")
		harness.Receive(t, "the acknowledgements", harness.Closed(js.PublishAsyncComplete()))
		began := time.Now()
		harness.Must(t, b.EraseAgent(t.Context(), agent))
		t.Logf("%d keys, one of them deleted before: %t: erased in %s", keys, early, time.Since(began).Round(time.Millisecond))
		s, err := js.Stream(t.Context(), "KV_AGENT_STATE")
		harness.Must(t, err)
		info, err := s.Info(t.Context(), jetstream.WithSubjectFilter("$KV.AGENT_STATE."+agent+".>"))
		harness.Must(t, err)
		left := info.State.Subjects
		want := keys
		if early {
			want++
		}
		if len(left) != want {
			t.Errorf("%d of %d keys are left", len(left), want)
		}
		for subject, n := range left {
			m, err := s.GetLastMsgForSubject(t.Context(), subject)
			if harness.Must(t, err); n != 1 || len(m.Data) > 0 {
				t.Fatalf("%s has %d messages, the last one %q", subject, n, m.Data)
			}
			if keys > 1000 && !slices.Contains([]string{agent + ".early", agent + ".k0"}, subject) {
				break // a few say enough
			}
		}
		if info, err = s.Info(t.Context(), jetstream.WithSubjectFilter("$KV.AGENT_STATE.other.k")); err != nil || info.State.Subjects["$KV.AGENT_STATE.other.k"] < 2 {
			t.Errorf("of another agent %v are left: %v", info, err)
		}

	}
}
