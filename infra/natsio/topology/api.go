package topology

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// api sends requests of one plan to the JetStream API. A cluster without a
// leader drops requests, and the client would wait for its whole timeout: each
// attempt is short, and unanswered requests are retried until ctx ends.
type api struct {
	ctx   context.Context
	js    jetstream.JetStream
	swept bool // probes of killed plans are removed
}

const (
	// attemptTime bounds one request. Creating a replicated stream takes about
	// a second on a busy machine.
	attemptTime = 3 * time.Second
	retryPause  = 100 * time.Millisecond
	// createTries bounds the attempts after a failed create: each failure also
	// releases, in the server's accounts, a reservation that was never made.
	createTries = 4
)

// retry calls op again while again accepts its error: at most tries times if
// tries > 0, and until ctx ends. It returns op's last error.
func retry(ctx context.Context, tries uint, again func(error) bool, op func() error) (err error) {
	_, _ = backoff.Retry(ctx, func() (struct{}, error) {
		if err = op(); !again(err) {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(backoff.NewConstantBackOff(retryPause)), backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(tries))
	return err
}

func (a *api) do(request func(context.Context) error) error {
	return retry(a.ctx, 0, isUnanswered, func() error {
		ctx, cancel := context.WithTimeout(a.ctx, attemptTime)
		defer cancel()
		return request(ctx)
	})
}

// create retries a failed create: the server removes the directory of all
// streams some time after the last stream, which may have been a probe, and
// this can make the next create fail (seen with 2.15).
func (a *api) create(cfg jetstream.StreamConfig) error {
	failed := func(err error) bool { return hasCode(err, server.JSStreamCreateErrF) }
	return retry(a.ctx, createTries, failed, func() error {
		return a.do(func(ctx context.Context) error {
			_, err := a.js.CreateStream(ctx, cfg)
			return err
		})
	})
}

// owner is the stream that has a subject already; "" = none.
func (a *api) owner(subject string) (name string, err error) {
	err = a.do(func(ctx context.Context) error {
		var err error
		name, err = a.js.StreamNameBySubject(ctx, subject)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		return err
	})
	return name, err
}

// isUnanswered reports whether a request had no answer, or none yet because the
// cluster has no meta leader.
func isUnanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrNoResponders) || hasCode(err, server.JSClusterNotAvailErr)
}

func hasCode(err error, codes ...server.ErrorIdentifier) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && slices.Contains(codes, server.ErrorIdentifier(api.ErrorCode))
}
