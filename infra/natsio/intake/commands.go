package intake

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmjs "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/jetstream"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
)

const (
	// ackWait is how long a message of an engine that has died stays with it.
	ackWait = 5 * time.Second
	// maxDeliveries bounds how often a command may take its engine down with it,
	// with room for clean stops while it is held back.
	maxDeliveries = 25
	// retries is how often a defect is met again before the message is set aside.
	retries = 3

	// clocksDiffer is by how much the server's clock may be off ours.
	clocksDiffer = 10 * time.Second

	sourceCommands = "commands" // of dead letters
)

// enqueued is one stored command: the one command type of the CQRS processor,
// because names are dynamic and the order of an aggregate runs across verbs.
// Its command handlers are the lanes.
type enqueued struct {
	commands.Request
	kind      string // for metrics
	subject   string // that it was sent to
	seq       uint64 // in COMMANDS
	delivered uint64
	old       bool      // stored before this engine began, or nearly so: it may have been carried out
	trace     [2]string // traceparent, tracestate
	began     time.Time
}

// commandFlow reads every lane, and what is no command.
func (in *Intake) commandFlow(ctx context.Context) (*flow, error) {
	began := time.Now().Add(clocksDiffer)
	sources := map[string]source{}
	add := func(topic string, filters ...string) {
		sources[topic] = source{CommandsStream, jetstream.ConsumerConfig{
			Durable: topic, FilterSubjects: filters, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: ackWait, MaxAckPending: 1,
			// What was settled is no longer in the stream, so a consumer that begins
			// anew is right. On disk, its state would be synced with every ack.
			MemoryStorage: true,
		}, 16}
	}
	for i := range in.streams.lanes {
		add("lane-"+strconv.Itoa(i), in.streams.laneRoot+strconv.Itoa(i)+".>")
	}
	// All but three tokens. A filter that is the stream's own subject would count
	// as none, and the stream would keep every command for this consumer.
	root := in.streams.enqueueRoot
	add("unknown", root+"*", root+"*.*", root+"*.*.*.*", root+"*.*.*.*.>")
	return in.open(ctx, flowConfig{
		name: "intake-commands", sources: sources, nakDelay: wmjs.NewStaticDelay(in.cfg.Backoff),
		handlers: func(stopping context.Context, r *message.Router, sub message.Subscriber, log watermill.LoggerAdapter) error {
			if err := in.commandMiddleware(stopping, r); err != nil {
				return err
			}
			lanes, err := cqrs.NewCommandProcessorWithConfig(r, cqrs.CommandProcessorConfig{
				GenerateSubscribeTopic: func(p cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) {
					return p.CommandHandler.HandlerName(), nil
				},
				SubscriberConstructor: func(cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) {
					return sub, nil
				},
				Marshaler: commandMarshaler{in.streams, began}, Logger: log,
			})
			for topic := range sources {
				if err == nil {
					_, err = lanes.AddHandler(cqrs.NewCommandHandler(topic, in.carry))
				}
			}
			return err
		},
	})
}

// commandMiddleware, outermost first: the stop signal and the trace; poison to
// DEAD_LETTERS; retry; recoverer.
func (in *Intake) commandMiddleware(stopping context.Context, r *message.Router) error {
	letters := &letterBox{in: in, source: sourceCommands, tell: in.tellSetAside}
	poisoned, err := middleware.PoisonQueueWithFilter(letters, in.streams.letterRoot+sourceCommands, func(err error) bool {
		return !errors.Is(err, context.Canceled)
	})
	if err != nil {
		return err
	}
	retry := middleware.Retry{
		MaxRetries: 1 << 30, InitialInterval: in.cfg.Backoff, Multiplier: 2, MaxInterval: 300 * in.cfg.Backoff,
		RandomizationFactor: 0.5,
		ShouldRetry: func(p middleware.RetryParams) bool {
			if p.RetryNum == 1 && !isPoison(p.Err) {
				in.cfg.Log.Warn("a command is held back, and those behind it, until it can be carried out", "error", p.Err)
			}
			return isHeld(p.Err) || !isPoison(p.Err) && p.RetryNum < retries
		},
	}
	r.AddMiddleware(in.enter(stopping), poisoned, retry.Middleware, middleware.Recoverer, readable)
	return nil
}

// enter gives a message the context that ends when the flow is asked to stop,
// and follows its trace in the log.
func (in *Intake) enter(stopping context.Context) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			ctx, cancel := context.WithCancelCause(m.Context())
			defer cancel(nil)
			defer context.AfterFunc(stopping, func() { cancel(errStopping) })()
			m.SetContext(ctx)
			out, err := next(m)
			if id := traceID(m.Metadata.Get(metaTrace)); id != "" {
				in.cfg.Log.Debug("a stored message was handled", "trace_id", id, "message", m.UUID,
					"subject", m.Metadata.Get(metaSubject), "error", err)
			}
			return out, err
		}
	}
}

// readable keeps what the unmarshaler marked away from the handlers.
func readable(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		if bad := m.Metadata.Get(metaBad); bad != "" {
			return nil, &poison{bad}
		}
		return next(m)
	}
}

// isHeld tells errors that time will mend. The command stays where it is, and
// its lane behind it: given back with a delay, it would lose its place.
func isHeld(err error) bool {
	var known *domain.Error
	return errors.As(err, &known) && (known.Kind == domain.Unavailable || known.Kind == domain.Overloaded)
}

// carry carries one stored command out and publishes its outcome. An error
// means: again, in the same place; a poison one: never.
func (in *Intake) carry(ctx context.Context, cmd *enqueued) error {
	if cmd.delivered > 1 || cmd.old {
		if settled, err := in.settled(ctx, cmd); settled || err != nil {
			return err
		}
	}
	if cmd.delivered > maxDeliveries {
		return &poison{fmt.Sprintf("delivered %d times and never settled: it may take its engine down", cmd.delivered)}
	}
	body, outcome, err := in.execute(ctx, cmd)
	var known *domain.Error
	switch {
	case err == nil:
	case isHeld(err), !errors.As(err, &known), known.Kind == domain.Internal:
		return err
	}
	return in.publishOutcome(ctx, cmd, body, outcome, err)
}

// execute is the command handler as a call. A stop does not cut it short: the
// handler bounds it itself.
func (in *Intake) execute(ctx context.Context, cmd *enqueued) (body []byte, outcome string, err error) {
	if cmd.Aggregate == aggregateReactor {
		return in.reactAgain(ctx, cmd)
	}
	receipt, err := in.send(context.WithoutCancel(ctx), cmd.Request)
	if err != nil {
		return nil, "", err
	}
	return receipt.Encode(), string(receipt.Outcome), nil
}

// send waits for a command's answer.
func (in *Intake) send(ctx context.Context, req commands.Request) (receipt commands.Receipt, err error) {
	done := make(chan struct{})
	in.cfg.Handle(ctx, req, func(r commands.Receipt, e error) {
		receipt, err = r, e
		close(done)
	})
	<-done
	return receipt, err
}

// commandMarshaler reads a stored command.
type commandMarshaler struct {
	streams
	began time.Time
}

const commandName = "enqueued"

func (commandMarshaler) Name(any) string                         { return commandName }
func (commandMarshaler) NameFromMessage(*message.Message) string { return commandName }

// Marshal implements Watermill's interface. Clients enqueue, the engine does not.
func (commandMarshaler) Marshal(any) (*message.Message, error) {
	return nil, errors.New("the intake sends no commands")
}

// Unmarshal fails with poison where the subject or the id is none.
func (c commandMarshaler) Unmarshal(m *message.Message, v any) error {
	cmd := v.(*enqueued)
	cmd.began = time.Now()
	cmd.subject, cmd.CommandID = c.subject(m.Metadata), c.commandID(m.Metadata)
	cmd.seq, cmd.delivered = number(m.Metadata, metaSequence), number(m.Metadata, metaDelivered)
	cmd.trace = [2]string{m.Metadata.Get(metaTrace), m.Metadata.Get(metaTraceMore)}
	cmd.Body = m.Payload
	cmd.MadeAt, cmd.old = madeAt(m.Metadata), storedAt(m.Metadata, metaTime).Before(c.began)
	tokens := strings.Split(strings.TrimPrefix(cmd.subject, c.enqueueRoot), ".")
	if len(tokens) != 3 {
		return &poison{fmt.Sprintf("%.256q is not enqueue.<aggregate>.<id>.<verb>", cmd.subject)}
	}
	cmd.Aggregate, cmd.ID, cmd.Verb = tokens[0], tokens[1], tokens[2]
	cmd.kind = "enqueue.unknown"
	if commands.Known(cmd.Aggregate, cmd.Verb) {
		cmd.kind = "enqueue." + cmd.Aggregate + "." + cmd.Verb
	}
	if err := domain.CheckID("command id", cmd.CommandID); err != nil {
		return &poison{err.Error()} // there is no outcomes.<command_id> to answer on
	}
	return nil
}

// subject is the one that a stored command was sent to.
func (s *streams) subject(m message.Metadata) string {
	stored := m.Get(metaSubject)
	if lane, ok := strings.CutPrefix(stored, s.laneRoot); ok {
		_, rest, _ := strings.Cut(lane, ".")
		return s.enqueueRoot + rest
	}
	return stored
}

// commandID is the client's, or is derived.
func (s *streams) commandID(m message.Metadata) string {
	for _, key := range []string{metaCommandID, metaMsgID} {
		if id := m.Get(key); id != "" {
			return id
		}
	}
	if stored := storedAt(m, metaTime); !stored.IsZero() {
		return derivedID(m.Get(metaStream), number(m, metaSequence), stored)
	}
	return ""
}

// madeAt is when the command was stored; of a retried dead letter, when it was
// stored first.
func madeAt(m message.Metadata) time.Time {
	at := storedAt(m, metaTime)
	if first := storedAt(m, metaFirst); !first.IsZero() && first.Before(at) {
		return first
	}
	return at
}

func storedAt(m message.Metadata, key string) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, m.Get(key)) // absent and malformed are zero
	return at
}
