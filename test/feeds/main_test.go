// Package feeds tests the streams that the engine publishes to and the inputs
// that applications use: feeds and their workers, messages, the outbox, and
// notifications of SQL changes.
package feeds

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// message is one message of a stream, its body decoded.
type message struct {
	harness.Message
	Body map[string]any
}

// isMarker reports whether a message only notes how far the feed is.
func (m message) isMarker() bool { return strings.Contains(m.Subject, ".$feeds.") }

// stream reads what a stream holds under a subject, in its order.
func stream(t *testing.T, c *harness.Client, name, subject string) (all []message) {
	t.Helper()
	for _, m := range c.Messages(t, name, subject) {
		decoded := message{Message: m}
		if len(m.Raw) > 0 {
			harness.Must(t, json.Unmarshal(m.Raw, &decoded.Body))
		}
		all = append(all, decoded)
	}
	return all
}
