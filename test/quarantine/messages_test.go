package quarantine

import (
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestMessagesAreRebuiltAroundAnUnreadableOne: the rebuild leaves an event that cannot be read to
// the running view, which quarantines it, and stores all other messages.
func TestMessagesAreRebuiltAroundAnUnreadableOne(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, manual)
	c := e.Client(t)
	send := func(from string) { c.MustDo(t, "message."+from+".direct", harness.M{"to": "b", "body": from}) }
	send("a")
	send("other")
	appendRaw(t, e, "message.a.sent", "torn")
	send("other")
	quarantined := map[string]int{"hot": 1, "durable": 1, "feeds": 1, "messages": 1, "message-feed": 1}
	states(t, c, quarantined)
	for range 2 {
		rebuild(t, e, "messages")
		states(t, c, quarantined)
		if n := count(t, c, `SELECT count(*) FROM agents.messages WHERE recipient = 'b' AND digest <> ''`); n != 3 {
			t.Errorf("%d messages, want 3", n)
		}
	}
}
