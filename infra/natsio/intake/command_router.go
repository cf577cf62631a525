package intake

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// commandAckWait is how long a command stays with a dead engine.
	commandAckWait = 5 * time.Second
	commandPull    = 16
	// defectRetries bounds the retries of an error that is neither transient nor
	// a refusal; then the command becomes a dead letter.
	defectRetries = 3
	// clockSkew bounds the difference between the server's clock and ours.
	clockSkew = 10 * time.Second

	sourceCommands = "commands" // source of dead letters
)

// openCommandRouter reads every lane, and one consumer for unknown subjects.
func (in *Intake) openCommandRouter(ctx context.Context) (*router, error) {
	started := time.Now().Add(clockSkew)
	sources := in.commandSources()
	return in.openRouter(ctx, routerConfig{
		name: "intake-commands", sources: sources,
		handlers: func(stopping context.Context, r *message.Router, sub message.Subscriber, log watermill.LoggerAdapter) error {
			if err := in.addCommandMiddleware(stopping, r); err != nil {
				return err
			}
			lanes, err := cqrs.NewCommandProcessorWithConfig(r, cqrs.CommandProcessorConfig{
				GenerateSubscribeTopic: func(p cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) {
					return p.CommandHandler.HandlerName(), nil
				},
				SubscriberConstructor: func(cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) {
					return sub, nil
				},
				Marshaler: commandMarshaler{in.streams, started}, Logger: log,
			})
			for topic := range sources {
				if err == nil {
					_, err = lanes.AddHandler(cqrs.NewCommandHandler(topic, in.handleCommand))
				}
			}
			return err
		},
	})
}

func (in *Intake) commandSources() map[string]source {
	sources := map[string]source{}
	add := func(topic string, filters ...string) {
		sources[topic] = source{CommandsStream, jetstream.ConsumerConfig{
			Durable: topic, FilterSubjects: filters, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: commandAckWait, MaxAckPending: -1, // waiting commands must not hold back others
			// The work queue removes acknowledged messages, so a new consumer
			// starts at the right place. State on disk would be synced per ack.
			MemoryStorage: true,
		}, commandPull}
	}
	for i := range in.streams.lanes + slowLanes { // also without accounts: there may have been some
		add("lane-"+strconv.Itoa(i), in.streams.laneRoot+strconv.Itoa(i)+".>")
	}
	// Every number of tokens but three. The server treats a filter equal to the
	// stream's subject as none, and would keep every command for this consumer.
	root := in.streams.enqueueRoot
	add("unknown", root+"*", root+"*.*", root+"*.*.*.*", root+"*.*.*.*.>")
	return sources
}

// addCommandMiddleware adds, outermost first: stop signal and trace, poison
// queue, retry, recoverer.
func (in *Intake) addCommandMiddleware(stopping context.Context, r *message.Router) error {
	deadLetters := &deadLetterPublisher{in: in, source: sourceCommands, answer: in.publishSetAside}
	poisonQueue, err := middleware.PoisonQueueWithFilter(deadLetters, in.streams.deadLetterRoot+sourceCommands, func(err error) bool {
		return !isTransient(err) && !errors.Is(err, context.Canceled)
	})
	if err != nil {
		return err
	}
	retry := middleware.Retry{
		MaxRetries: defectRetries, InitialInterval: in.cfg.Backoff, Multiplier: 2, RandomizationFactor: 0.5,
		ShouldRetry: func(p middleware.RetryParams) bool { return !isTransient(p.Err) && !isPoison(p.Err) },
	}
	r.AddMiddleware(in.stopAndTrace(stopping), in.logWaiting, poisonQueue, retry.Middleware, middleware.Recoverer)
	return nil
}

// logWaiting logs that a command waits, at its first attempt.
func (in *Intake) logWaiting(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		out, err := next(m)
		if err != nil && isTransient(err) {
			in.log.Warn("a command must wait, and the later ones of its aggregate with it",
				"subject", m.Metadata.Get(metaSubject), "sequence", m.Metadata.Get(metaSequence), "error", err)
		}
		return out, err
	}
}

// stopAndTrace ends a message's context when the router is asked to stop, and
// logs the message with its trace id.
func (in *Intake) stopAndTrace(stopping context.Context) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			ctx, cancel := context.WithCancelCause(m.Context())
			defer cancel(nil)
			defer context.AfterFunc(stopping, func() { cancel(errStopping) })()
			m.SetContext(ctx)
			out, err := next(m)
			if id := traceOf(m.Metadata).ID(); id != "" {
				in.cfg.Log.Debug("handled a stored message", "trace_id", id, "message", m.UUID,
					"subject", m.Metadata.Get(metaSubject), "error", err)
			}
			return out, err
		}
	}
}

// rejectUnreadable turns a message that the unmarshaler marked into poison.
func rejectUnreadable(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		if reason := m.Metadata.Get(metaUnreadable); reason != "" {
			return nil, &poisonError{reason}
		}
		return next(m)
	}
}
