package embedded_test

import (
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// Clients that come back together after a restart subscribe in one moment. The server
// computes how an account's inboxes are mapped at the first subscription, without a lock:
// it must have done so before they come. Without that the race detector speaks.
func TestClientsThatSubscribeTogether(t *testing.T) {
	dir := t.TempDir()
	for round := range 6 {
		s := support.NATSFor(t, embedded.Config{Dir: dir, Auth: true})
		var creds []byte
		var err error
		if round == 0 {
			creds, err = s.Authority().NewPrincipal("alice")
		} else {
			creds, err = s.Authority().Rotate("alice")
		}
		harness.Must(t, err)
		s.Stop()
		s = support.NATSFor(t, embedded.Config{Dir: dir, Auth: true})
		together(t, s.URL(), nats.UserCredentialBytes(creds))
		s.Stop()
		s = support.NATSIn(t, dir)
		together(t, s.URL())
		s.Stop()
	}
}

// together lets clients subscribe to inboxes in one moment.
func together(t *testing.T, url string, options ...nats.Option) {
	t.Helper()
	conns := make([]*nats.Conn, 8)
	for i := range conns {
		nc, err := nats.Connect(url, options...)
		harness.Must(t, err)
		defer nc.Close()
		conns[i] = nc
	}
	var all errgroup.Group
	for i, nc := range conns {
		all.Go(func() error {
			if _, err := nc.SubscribeSync("_INBOX.together" + strconv.Itoa(i) + ".*"); err != nil {
				return err
			}
			return nc.Flush()
		})
	}
	harness.Must(t, all.Wait())
}
