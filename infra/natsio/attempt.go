package natsio

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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
	return repeat(ctx, timeout, unanswered, request)
}

// unanswered reports whether a request may have been dropped.
func unanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || HasCode(err, CodeNoLeader)
}

// findTimeout bounds the look for a stream that another engine is creating.
const findTimeout = 10 * time.Second

// Find looks up a stream that there is. A cluster lists the name of a stream, and refuses another
// one with it, before it finds the stream or answers for it.
func Find(ctx context.Context, js jetstream.JetStream, name string) (s jetstream.Stream, err error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	again := func(err error) bool { return unanswered(err) || errors.Is(err, jetstream.ErrStreamNotFound) }
	err = repeat(ctx, attemptTimeout, again, func(ctx context.Context) (err error) {
		s, err = js.Stream(ctx, name)
		return err
	})
	return s, err
}

// repeat repeats a request while its error may pass.
func repeat(ctx context.Context, timeout time.Duration, again func(error) bool, request func(context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, timeout)
		err := request(try)
		cancel()
		if !again(err) {
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
