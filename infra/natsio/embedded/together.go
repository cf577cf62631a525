package embedded

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// maxPrepare is how long a start waits for its accounts, of which a thousand take ten
// seconds. The others, and those that change later, are not prepared: an engine that
// subscribes beside clients would be one more of them.
const maxPrepare = time.Second

// prepareAll prepares the accounts before the server listens.
func (s *Server) prepareAll() {
	for end, accounts := time.Now().Add(maxPrepare), s.auth.Accounts(); len(accounts) > 0 && time.Now().Before(end); accounts = accounts[1:] {
		s.prepare(accounts[0])
	}
}

// prepare makes the first subscription to an inbox of an account. At that one the server
// computes how the account's inboxes are mapped, and takes no lock for it (addShadowSub of
// nats-server 2.15.3): of clients that come together one might use what another is writing.
func (s *Server) prepare(account string) {
	if err := s.subscribeInbox(account); err != nil { // clients are served all the same
		s.log.Warn("an account is not prepared for clients that come together", "account", account, "error", err)
	}
}

func (s *Server) subscribeInbox(account string) error {
	user, seed, err := s.auth.AccountUser(account)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(InProcess, append(s.ClientOptions(), nats.UserJWTAndSeed(user, seed), nats.NoReconnect(), nats.Timeout(maxPrepare))...)
	if err != nil {
		return fmt.Errorf("connect to an account: %w", err)
	}
	defer nc.Close()
	if _, err := nc.SubscribeSync(nats.NewInbox()); err != nil {
		return err
	}
	return nc.FlushTimeout(maxPrepare)
}
