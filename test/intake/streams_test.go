package intake_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestCommandsStream: a full queue refuses commands and drops none, ids of different
// senders do not meet, also in a stream of an earlier build; clients get accounts of
// their own and lose them again.
func TestCommandsStream(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	config := func() jetstream.StreamConfig {
		s, err := r.js.Stream(t.Context(), intake.CommandsStream)
		harness.Must(t, err)
		return s.CachedInfo().Config
	}
	check := func(what string, bytes int64, subjects int) {
		t.Helper()
		if c := config(); c.Discard != jetstream.DiscardNew || c.Duplicates != 0 || c.MaxBytes != bytes || len(c.Subjects) != subjects {
			t.Errorf("%s: discard %v, window %s, %d bytes, subjects %q", what, c.Discard, c.Duplicates, c.MaxBytes, c.Subjects)
		}
	}
	r.start(nil).close()
	check("new", 4<<30, 2)

	old := config()
	old.Subjects, old.MaxBytes, old.Discard = old.Subjects[:1], -1, jetstream.DiscardOld
	old.Sources, old.Duplicates = nil, 2*time.Minute
	_, err := r.js.UpdateStream(t.Context(), old)
	harness.Must(t, err)
	r.start(nil).close()
	check("of an earlier build", 4<<30, 2)

	shared, err := intake.Start(t.Context(), intake.Config{
		Connect: func(name string) (*nats.Conn, error) {
			return natsio.Connect(r.server.URL(), name, harness.Log(t), r.server.Options()...)
		},
		Send: commands.NewHandler(history.New(r.journal, nil, 0), commands.Config{}).Send, Journal: history.New(r.journal, nil, 0), Log: harness.Log(t),
	})
	harness.Must(t, err)
	shared.Close()
	check("without accounts", 4<<30, 1)
	r.start(nil).close()
	check("with accounts again", 4<<30, 2)

	small := config()
	small.MaxBytes = 4 << 10
	_, err = r.js.UpdateStream(t.Context(), small)
	harness.Must(t, err)
	r.start(nil).close()
	check("with a limit of the operator", 4<<10, 2)
	body := []byte(`{"key":"k","value":"` + strings.Repeat("x", 500) + `"}`)
	stored := uint64(0)
	for refused := 0; refused < 3; {
		subject := map[bool]string{false: "enqueue.agent.a.set", true: "enqueue.agent.b.set"}[stored%2 == 1]
		if _, err := r.js.Publish(t.Context(), subject, body, jetstream.WithMsgID("one")); err != nil {
			refused++
			continue
		}
		if stored++; stored > 100 {
			t.Fatal("a full stream takes more")
		}
	}
	if n := uint64(r.count(intake.CommandsStream)); n != stored || stored < 2 {
		t.Errorf("%d commands were stored, and %d are there", stored, n)
	}
}

// TestOneClientLeavesRoom: the commands of one client that wait do not have those of another
// refused. Each client is a principal, or a connection without credentials.
func TestOneClientLeavesRoom(t *testing.T) {
	r := newRig(t, 1)
	r.prepare()
	s, err := r.js.Stream(t.Context(), intake.CommandsStream)
	harness.Must(t, err)
	small := s.CachedInfo().Config
	small.MaxBytes = 256 << 10
	_, err = r.js.UpdateStream(t.Context(), small)
	harness.Must(t, err)
	release := make(chan struct{})
	e := r.start(func(send reactors.Send) reactors.Send {
		return func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
			select {
			case <-release:
				return send(ctx, req)
			case <-ctx.Done():
				return commands.Receipt{}, errUnavailable
			}
		}
	})
	defer e.close()
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	body := []byte(`{"key":"k","value":"` + strings.Repeat("x", 2000) + `"}`)
	enqueue := func(c *nats.Conn, agent string) string {
		m, err := c.Request("enqueue.agent."+agent+".set", body, harness.Patience)
		harness.Must(t, err)
		if strings.Contains(string(m.Data), `"error"`) {
			return string(m.Data)
		}
		return ""
	}
	greedy, honest := support.Client(t, r.server), support.Client(t, r.server)
	refusal := ""
	harness.Eventually(t, "the greedy client is refused", func() bool {
		refusal = enqueue(greedy, "greedy")
		return refusal != ""
	})
	if !strings.Contains(refusal, `"code":429`) || !strings.Contains(refusal, "wait") {
		t.Errorf("the greedy client is refused by %s", refusal)
	}
	for i := range 10 {
		if refusal := enqueue(honest, "honest"); refusal != "" {
			t.Fatalf("command %d of another client: %s", i, refusal)
		}
	}
	free()
	r.drained()
	harness.Eventually(t, "the greedy client is served again", func() bool { return enqueue(greedy, "greedy") == "" })
}
