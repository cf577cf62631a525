package natsio

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// A stream or consumer that elects a leader drops requests, and so does a cluster
// without a leader: the client would wait for its whole timeout.
const (
	attemptTimeout = 3 * time.Second
	attemptPause   = 100 * time.Millisecond
	readTimeout    = time.Second // of a read that a command waits for
)

// Attempt calls request with a short timeout, and again while it has no answer,
// until ctx ends. Only requests that may be repeated are safe.
func Attempt(ctx context.Context, request func(context.Context) error) error {
	return attempt(ctx, attemptTimeout, request)
}

func attempt(ctx context.Context, timeout time.Duration, request func(context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, timeout)
		err := request(try)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) && !HasCode(err, CodeNoLeader) {
			return err
		}
		pause := time.NewTimer(attemptPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}
