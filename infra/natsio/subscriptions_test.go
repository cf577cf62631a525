package natsio

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestSubscriptionsThatTheServerEnded: a right that is taken away and given back costs no
// subscription for ever, with and without a queue; what is still refused stays refused.
func TestSubscriptionsThatTheServerEnded(t *testing.T) {
	t.Parallel()
	users := func(deny ...string) *server.Options {
		return &server.Options{Users: []*server.User{
			{Username: "engine", Password: "p", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Deny: append(deny, "never.>")}}},
			{Username: "client", Password: "p"},
		}}
	}
	s := run(t, *users("x"))
	reload := func(deny ...string) {
		t.Helper()
		reloadUsers(t, s, users(deny...))
	}
	kept, nc, client := keeping(t, s)
	answer := func(m *nats.Msg) { _ = m.Respond(nil) }
	for _, one := range []Right{{Subject: "plain.>"}, {Subject: "queued.*", queue: "q"}, {Subject: "never.mine"}} {
		_, err := nc.QueueSubscribe(one.Subject, one.queue, answer)
		harness.Must(t, err)
	}
	answered := func() bool {
		for _, subject := range []string{"plain.1", "queued.1"} {
			if _, err := client.Request(subject, nil, time.Second); err != nil {
				return false
			}
		}
		return true
	}
	harness.Eventually(t, "requests are answered", answered)
	for range 2 {
		reload("plain.>", "queued.>", "_INBOX.>")
		harness.Eventually(t, "the refusals are known", func() bool {
			refused := texts(kept)
			return slices.Contains(refused, "the subscription to plain.>") && slices.Contains(refused, "the subscription to queued.*")
		})
		if answered() {
			t.Fatal("a request is answered without the right")
		}
		reload("x")
		harness.Eventually(t, "requests are answered again", answered)
		harness.Eventually(t, "what is refused is known", func() bool { return slices.Equal(texts(kept), []string{"the subscription to never.mine"}) })
	}
}

// TestRepliesThatTheServerRefuses: the first request shows that replies are refused, and they
// are asked for until the server takes them.
func TestRepliesThatTheServerRefuses(t *testing.T) {
	t.Parallel()
	users := func(deny ...string) *server.Options {
		return &server.Options{Users: []*server.User{
			{Username: "engine", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: append(deny, "other.>")}}},
			{Username: "client", Password: "p"},
		}}
	}
	s := run(t, *users("_INBOX.>"))
	kept, nc, client := keeping(t, s)
	_, err := nc.Subscribe("plain.>", func(m *nats.Msg) { _ = m.Respond(nil) })
	harness.Must(t, err)
	harness.Must(t, nc.Publish("other.1", nil))
	harness.Must(t, nc.Flush())
	if _, err := client.Request("plain.1", nil, time.Second); err == nil || len(kept.Refused()) != 1 {
		t.Fatalf("%v, %q", err, texts(kept))
	}
	time.Sleep(2 * askAgain)
	if got := texts(kept); !slices.Equal(got, []string{"replies to _INBOX.>"}) {
		t.Errorf("%q", got)
	}
	reloadUsers(t, s, users())
	harness.Eventually(t, "a request is answered, and nothing is refused", func() bool {
		_, err := client.Request("plain.1", nil, time.Second)
		return err == nil && len(kept.Refused()) == 0
	})
}

func texts(s *Subscriptions) (all []string) {
	for _, right := range s.Refused() {
		all = append(all, right.String())
	}
	return all
}

// keeping returns a connection of the user engine whose subscriptions are kept, and one of the
// user client.
func keeping(t *testing.T, s *server.Server) (kept *Subscriptions, nc, client *nats.Conn) {
	t.Helper()
	dial := func() (*nats.Conn, error) {
		return Connect(s.ClientURL(), "test", quiet, nats.UserInfo("engine", "p"))
	}
	nc, err := dial()
	harness.Must(t, err)
	t.Cleanup(nc.Close)
	kept = &Subscriptions{Log: quiet}
	kept.Keep(nc, dial)
	client, err = nats.Connect(s.ClientURL(), nats.UserInfo("client", "p"))
	harness.Must(t, err)
	t.Cleanup(client.Close)
	return kept, nc, client
}

// reloadUsers gives a running server the users of opts.
func reloadUsers(t *testing.T, s *server.Server, opts *server.Options) {
	t.Helper()
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "127.0.0.1", s.Addr().(*net.TCPAddr).Port, true, true
	harness.Must(t, s.ReloadOptions(opts))
}
