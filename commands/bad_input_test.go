package commands_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/test/badinput"
)

func agentSet(body string) commands.Request {
	return commands.Request{Aggregate: "agent", ID: "a1", Verb: "set", Body: []byte(body)}
}

func agentDelete(body string) commands.Request {
	return commands.Request{Aggregate: "agent", ID: "a1", Verb: "delete", Body: []byte(body)}
}

// TestBadInput: each bad command is refused with its verdict, without an event.
func TestBadInput(t *testing.T) {
	for _, c := range badinput.Commands(noon) {
		aggregate, id, verb, err := commands.ParseSubject(c.Subject)
		if err == nil {
			_, appended, refusal := handle(t, commands.Request{Aggregate: aggregate, ID: id, Verb: verb, CommandID: c.ID, Body: []byte(c.Body)})
			if err = refusal; len(appended) > 0 {
				t.Errorf("%.60q %.120q: appended %s", c.Subject, c.Body, appended[0].Encode())
			}
		}
		what := fmt.Sprintf("%.60q %.40q %.120q", c.Subject, c.ID, c.Body)
		var e *domain.Error
		switch {
		case !errors.As(err, &e):
			t.Errorf("%s: taken, %v", what, err)
		case e.Kind.Status() != c.Status || e.Code != c.Code || !strings.Contains(e.Message, c.Place):
			t.Errorf("%s: %d %s naming %q expected, got %d %v", what, c.Status, c.Code, c.Place, e.Kind.Status(), e)
		case len(e.Message) > 1024:
			t.Errorf("%s: the message has %d bytes", what, len(e.Message))
		}
	}
}

func ulidAt(t time.Time) string {
	return ulid.MustNew(ulid.Timestamp(t), strings.NewReader("0123456789")).String()
}

func uuid7At(t time.Time) string {
	ms := fmt.Sprintf("%012x", t.UnixMilli())
	return ms[:8] + "-" + ms[8:] + "-7123-8123-0123456789ab"
}
