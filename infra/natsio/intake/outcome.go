package intake

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// headerSequence of an outcome is the command's sequence in COMMANDS. headerSubject is where
// it was sent; outcomes of an earlier build have none.
const headerSequence = "Tidemark-Sequence"

const (
	publishTime = 5 * time.Second // one attempt to store an outcome or a dead letter
	maxBackoff  = 50              // times Config.Backoff
)

// publishOutcome stores and publishes a command's receipt or error, encoded
// like the reply to a request. It retries until the router stops. The receipt of
// an id stays: a later refusal under that id is published, not stored.
func (in *Intake) publishOutcome(ctx context.Context, cmd *storedCommand, body []byte, result string, refusal error) error {
	msg := &nats.Msg{Subject: in.streams.outcomeSubject(cmd.account, cmd.CommandID), Data: body, Header: nats.Header{}}
	if refusal != nil {
		r := natsio.EncodeError(refusal, in.cfg.Log)
		msg.Data, msg.Header, result = r.Body, r.Header, strconv.Itoa(r.Error.Kind.Status())
	}
	msg.Header.Set(headerSubject, cmd.subject)
	msg.Header.Set(headerSequence, strconv.FormatUint(cmd.seq, 10))
	if cmd.trace.Parent != "" {
		msg.Header[metaTraceParent] = []string{cmd.trace.Parent}
		msg.Header[metaTraceState] = []string{cmd.trace.State}
	}
	keeps := false
	if refusal != nil {
		var err error
		if keeps, err = in.hasReceipt(ctx, cmd); err != nil {
			return err
		}
	}
	var err error
	if keeps {
		// Subscribers get the refusal. The stream stores no message for another one.
		msg.Header.Set(jetstream.ExpectedStreamHeader, noStream)
		err = in.js.Conn().PublishMsg(msg)
	} else {
		err = in.publish(ctx, msg, OutcomesStream)
	}
	if err == nil {
		in.cfg.Observe(cmd.kind, result, time.Since(cmd.began))
	}
	return err
}

// noStream is the name of no stream.
const noStream = "none"

// hasReceipt reports whether the stored outcome of the command's id is the receipt of
// a command of its aggregate. A refusal, like command.id_reused, does not replace that.
func (in *Intake) hasReceipt(ctx context.Context, cmd *storedCommand) (bool, error) {
	msg, err := in.lastOutcome(ctx, cmd.account, cmd.CommandID)
	if err != nil || msg == nil || msg.Header.Get(micro.ErrorCodeHeader) != "" {
		return false, err
	}
	aggregate := cmd.subject[:strings.LastIndexByte(cmd.subject, '.')+1]
	return strings.HasPrefix(msg.Header.Get(headerSubject), aggregate), nil
}

// publishSetAside publishes the outcome of a command that became a dead letter
// without a refusal.
func (in *Intake) publishSetAside(m *message.Message, reason string) error {
	id, _ := commandID(m.Metadata)
	cmd := &storedCommand{kind: "enqueue.set_aside", seq: metaNumber(m.Metadata, metaSequence), began: time.Now(), trace: traceOf(m.Metadata)}
	cmd.CommandID, cmd.subject, cmd.account = id, in.streams.clientSubject(m.Metadata), in.streams.account(m.Metadata.Get(metaSubject))
	return in.publishOutcome(m.Context(), cmd, nil, "", domain.Errorf(domain.Internal, "command.set_aside",
		"the command was set aside as a dead letter: %s", reason))
}

// publish stores a message in a stream and retries until ctx ends.
func (in *Intake) publish(ctx context.Context, msg *nats.Msg, stream string, opts ...jetstream.PublishOpt) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = in.cfg.Backoff, maxBackoff*in.cfg.Backoff
	opts = append(opts, jetstream.WithExpectStream(stream))
	_, err := backoff.Retry(ctx, func() (*jetstream.PubAck, error) {
		// A stop ends the retries and interrupts no attempt.
		attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTime)
		defer cancel()
		return in.js.PublishMsg(attempt, msg, opts...)
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, next time.Duration) {
		in.log.Warn("storing a message failed, retrying", "subject", msg.Subject, "stream", stream, "error", err, "retry_in", next)
	}))
	return err
}

// hasOutcome reports whether this message has an outcome already, from an
// engine that died or lost its connection before the ack. A refusal leaves no
// event: executed again, it might be accepted, after later commands.
func (in *Intake) hasOutcome(ctx context.Context, cmd *storedCommand) (bool, error) {
	msg, err := in.lastOutcome(ctx, cmd.account, cmd.CommandID)
	if err != nil || msg == nil {
		return false, err
	}
	return msg.Header.Get(headerSequence) == strconv.FormatUint(cmd.seq, 10), nil
}

// Outcome answers queries.command.<id>.get: the receipt or error of a stored
// command. It returns command.not_found before the command has an outcome, and
// 24 hours after.
func (in *Intake) Outcome(ctx context.Context, id string) ([]byte, error) {
	if err := domain.CheckID("command id", id); err != nil {
		return nil, err
	}
	account := in.streams.dev
	if caller := identity.From(ctx); caller != nil {
		account = caller.Account
	}
	msg, err := in.lastOutcome(ctx, account, id)
	if err != nil {
		return nil, err
	}
	if msg == nil {
		return nil, domain.Errorf(domain.NotFound, "command.not_found",
			"command %s has no outcome: it was never enqueued, still waits, or its outcome is older than %s", id, outcomeAge)
	}
	return msg.Data, nil
}

// lastOutcome returns nil if there is none.
func (in *Intake) lastOutcome(ctx context.Context, account, id string) (*jetstream.RawStreamMsg, error) {
	msg, err := natsio.LastMessage(ctx, in.js.Conn(), in.streams.outcomes, in.streams.outcomeSubject(account, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, domain.Errorf(domain.Unavailable, "outcomes.unavailable", "read the outcome of command %s: %v", id, err)
	}
	return msg, nil
}
