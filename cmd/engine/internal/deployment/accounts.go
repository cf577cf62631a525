package deployment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
)

// AwaitRefused returns when the server refuses credentials, and has closed the connections with
// them, or when ctx ends.
func (t *Target) AwaitRefused(ctx context.Context, creds []byte) error {
	url, opts, err := t.without(nats.UserCredentialBytes(creds))
	if err != nil {
		return err
	}
	opts = append(opts, nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // that they are revoked is no news
	for {
		ended := make(chan struct{})
		nc, err := nats.Connect(url, append(opts, nats.ClosedHandler(func(*nats.Conn) { close(ended) }))...)
		closed, retry := (<-chan struct{})(ended), (<-chan time.Time)(nil)
		switch {
		case natsio.RefusesClient(err):
			return nil
		case err != nil: // it has too many connections, for example
			closed, retry = nil, time.After(refusedPause)
		}
		select {
		case <-closed: // and then the server says why
		case <-retry:
		case <-ctx.Done():
			if nc != nil {
				nc.Close()
			}
			return errors.Join(ctx.Err(), err)
		}
	}
}

// refusedPause is between two attempts of AwaitRefused that say nothing.
const refusedPause = 50 * time.Millisecond

// without is the server, and how to connect to it with other rights than those of the flags.
func (t *Target) without(rights nats.Option) (url string, opts []nats.Option, err error) {
	if url, err = t.Find(); err != nil {
		return "", nil, err
	}
	opts = append(opts, rights)
	if t.tls != nil {
		opts = append(opts, nats.Secure(t.tls))
	}
	transport := natsio.Access{TLSCA: t.Access.TLSCA, TLSCert: t.Access.TLSCert, TLSKey: t.Access.TLSKey}
	more, err := transport.Options()
	return WithoutUsers(url), append(opts, more...), err
}

// PushAccount sends the account of a principal to the servers in operator mode, which
// keep it.
func (t *Target) PushAccount(ctx context.Context, keys *auth.Authority, name string) error {
	account, err := keys.AccountJWT(name)
	if err != nil {
		return err
	}
	user, seed, err := keys.SystemUser()
	if err != nil {
		return err
	}
	url, opts, err := t.without(nats.UserJWTAndSeed(user, seed))
	if err != nil {
		return err
	}
	nc, err := natsio.Connect(url, "tidemark-auth", slog.New(slog.DiscardHandler), opts...)
	if err != nil {
		return fmt.Errorf("send the account of %s to the NATS server: %w", name, err)
	}
	defer nc.Close()
	reply, err := nc.RequestWithContext(ctx, "$SYS.REQ.CLAIMS.UPDATE", []byte(account))
	if err != nil {
		return fmt.Errorf("send the account of %s to the NATS server: %w", name, err)
	}
	var answer struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return fmt.Errorf("the NATS server does not take the account of %s: %s", name, answer.Error.Description)
	}
	return nil
}
