package intake

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// headerSequence of an outcome is the place in COMMANDS of what it answers.
const headerSequence = "Tidemark-Sequence"

// publishTime bounds one attempt to store an outcome or a dead letter.
const publishTime = 5 * time.Second

// publishOutcome stores and tells what came of a command, in the form that a
// request would have been answered in. It tries until the flow stops.
func (in *Intake) publishOutcome(ctx context.Context, cmd *enqueued, body []byte, what string, refusal error) error {
	msg := &nats.Msg{Subject: in.streams.outcomeRoot + cmd.CommandID, Data: body, Header: nats.Header{}}
	if refusal != nil {
		r := natsio.EncodeError(refusal, in.cfg.Log)
		msg.Data, msg.Header, what = r.Body, r.Header, strconv.Itoa(r.Error.Kind.Status())
	}
	msg.Header.Set(headerSequence, strconv.FormatUint(cmd.seq, 10))
	if cmd.trace[0] != "" {
		msg.Header[metaTrace] = []string{cmd.trace[0]}
		msg.Header[metaTraceMore] = []string{cmd.trace[1]}
	}
	if err := in.publish(ctx, msg, OutcomesStream); err != nil {
		return err
	}
	in.cfg.Observe(cmd.kind, what, time.Since(cmd.began))
	return nil
}

// publish stores a message of our own, again and again until it is stored or
// ctx ends.
func (in *Intake) publish(ctx context.Context, msg *nats.Msg, stream string, opts ...jetstream.PublishOpt) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = in.cfg.Backoff, 300*in.cfg.Backoff
	opts = append(opts, jetstream.WithExpectStream(stream))
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		// A stop ends the attempts, but none half way.
		attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTime)
		defer cancel()
		_, err := in.js.PublishMsg(attempt, msg, opts...)
		return struct{}{}, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, next time.Duration) {
		in.cfg.Log.Warn("a message cannot be stored yet", "subject", msg.Subject, "stream", stream, "error", err, "again_in", next)
	}))
	return err
}

// tellSetAside publishes what is to be known of a command that was set aside,
// where it has an id to be asked by.
func (in *Intake) tellSetAside(m *message.Message, reason string) error {
	id := in.streams.commandID(m.Metadata)
	if domain.CheckID("command id", id) != nil {
		return nil
	}
	cmd := &enqueued{kind: "enqueue.set_aside", seq: number(m.Metadata, metaSequence), began: time.Now(),
		trace: [2]string{m.Metadata.Get(metaTrace), m.Metadata.Get(metaTraceMore)}}
	cmd.CommandID = id
	return in.publishOutcome(m.Context(), cmd, nil, "", domain.Errorf(domain.Internal, "command.set_aside",
		"the command was set aside as a dead letter: %s", reason))
}

// settled tells whether this very message has been answered before: by an
// engine that died, or lost its connection, before it could acknowledge. A
// refusal leaves no event, so executing again could come to something else,
// after commands behind it have been carried out.
func (in *Intake) settled(ctx context.Context, cmd *enqueued) (bool, error) {
	msg, err := in.streams.outcomes.GetLastMsgForSubject(ctx, in.streams.outcomeRoot+cmd.CommandID)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return false, nil
	case err != nil:
		return false, domain.Errorf(domain.Unavailable, "outcomes.unavailable", "look for an earlier outcome: %v", err)
	}
	return msg.Header.Get(headerSequence) == strconv.FormatUint(cmd.seq, 10), nil
}

// Outcome answers queries.command.<id>.get: the receipt or error of a stored
// command, for 24 hours. 404 command.not_found before it is settled and after.
func (in *Intake) Outcome(ctx context.Context, id string) ([]byte, error) {
	if err := domain.CheckID("command id", id); err != nil {
		return nil, err
	}
	msg, err := in.streams.outcomes.GetLastMsgForSubject(ctx, in.streams.outcomeRoot+id)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, domain.Errorf(domain.NotFound, "command.not_found",
			"no outcome of command %s is known: it was never enqueued, still waits, or was settled more than %s ago", id, outcomeAge)
	case err != nil:
		return nil, domain.Errorf(domain.Unavailable, "outcomes.unavailable", "the outcomes cannot be read: %v", err)
	}
	return msg.Data, nil
}

// brief is a text as one short line, for headers and answers; the log has the
// whole.
func brief(text string) string {
	for i, r := range text {
		if r < ' ' || i >= 500 {
			return text[:i]
		}
	}
	return text
}
