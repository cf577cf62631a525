package natsio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Names of the seed's streams (6.1) and durable consumers (6.3).
const (
	agentState    = "AGENT_STATE"
	taskExecution = "TASK_EXECUTION"
	agentMessages = "AGENT_MESSAGES"

	taskProcessor    = "task-processor"
	messageProcessor = "message-batch-processor"
)

// Streams opens the seed's streams and makes those that are missing, with the
// seed's limits. Those that exist stay as they are.
type Streams struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	pipeline *pipeline
	subjects Subjects
	embedded bool
	log      *slog.Logger
}

// NewStreams works on a connection; embedded tells that the server is the
// engine's own.
func NewStreams(nc *nats.Conn, s Subjects, embedded bool, log *slog.Logger) (*Streams, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	out, err := newPipeline(nc)
	if err != nil {
		return nil, err
	}
	return &Streams{nc: nc, js: js, pipeline: out, subjects: s, embedded: embedded, log: log}, nil
}

// config is a stream as the seed writes it, but for replicas and placement,
// which depend on the servers there are.
func (s *Streams) config(name string) jetstream.StreamConfig {
	root := s.subjects.Root
	switch name {
	case agentState:
		return jetstream.StreamConfig{
			Name: agentState, Description: "Agent state changes and lifecycle events",
			Subjects: []string{root("agents.state.") + ">", root("agents.lifecycle.") + ">", root("agents.heartbeat.") + ">"},
			Storage:  jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
			MaxAge: time.Hour, MaxMsgs: 1_000_000, MaxBytes: 2 << 30, MaxMsgSize: 1 << 20,
			Duplicates: 2 * time.Minute, AllowRollup: true, Replicas: Replicas(s.nc, 0),
		}
	case taskExecution:
		return jetstream.StreamConfig{
			Name: taskExecution, Description: "Task lifecycle events and execution tracking",
			Subjects: []string{root("tasks.created.") + ">", root("tasks.started.") + ">", root("tasks.completed.") + ">",
				root("tasks.failed.") + ">", root("tasks.cancelled.") + ">"},
			Storage: jetstream.FileStorage, Retention: jetstream.InterestPolicy, Discard: jetstream.DiscardOld,
			MaxAge: 24 * time.Hour, MaxMsgs: 10_000_000, MaxBytes: 5 << 30, MaxMsgSize: 5 << 20,
			Duplicates: 5 * time.Minute, Replicas: Replicas(s.nc, 0),
		}
	}
	return jetstream.StreamConfig{
		Name: agentMessages, Description: "Inter-agent communication and messaging",
		Subjects: []string{root("messages.direct.") + ">", root("messages.broadcast.") + ">", root("messages.notification.") + ">"},
		Storage:  jetstream.MemoryStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: 5 * time.Minute, MaxMsgs: 100_000, MaxBytes: 100 << 20, MaxMsgSize: 256 << 10,
		Duplicates: 2 * time.Minute, Replicas: 1,
	}
}

// open opens a stream, making it where there is none.
func (s *Streams) open(ctx context.Context, name string) (jetstream.Stream, error) {
	st, err := s.js.Stream(ctx, name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return st, err
	}
	sc := s.config(name)
	if name == agentState && sc.Replicas == 1 && s.embedded {
		// A tail that a crash takes is published again. Not so for tasks: a
		// worker's ack must not be of a message that comes again under its number.
		sc.PersistMode = jetstream.AsyncPersistMode
	}
	st, err = s.js.CreateStream(ctx, sc)
	if hasCode(err, codeNoResources, codeStorageExceeded, codeMemoryExceeded) {
		s.log.Warn("the server cannot reserve what the stream may grow to; it is made without a limit of its own",
			"stream", name, "max_bytes", sc.MaxBytes)
		sc.MaxBytes = -1
		st, err = s.js.CreateStream(ctx, sc)
	}
	if err != nil {
		return nil, fmt.Errorf("make the stream %s: %w", name, err)
	}
	return st, nil
}

// consumer opens a durable consumer, making it where there is none.
func (s *Streams) consumer(ctx context.Context, st jetstream.Stream, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	c, err := st.Consumer(ctx, cfg.Durable)
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return c, err
	}
	if c, err = st.CreateConsumer(ctx, cfg); err != nil {
		return nil, fmt.Errorf("make the consumer %s: %w", cfg.Durable, err)
	}
	return c, nil
}

// taskConsumer is the seed's task-processor. Its rate_limit has no field on the
// server: whoever pulls keeps to it.
func (s *Streams) taskConsumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: taskProcessor, Description: "Processes task execution events",
		FilterSubject: s.subjects.Root("tasks.started.") + ">", DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second, MaxDeliver: 3, MaxAckPending: 100,
		ReplayPolicy: jetstream.ReplayInstantPolicy,
	}
}

// messageConsumer is the seed's message-batch-processor.
func (s *Streams) messageConsumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: messageProcessor, Description: "Batch processing of agent messages",
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: 60 * time.Second, MaxDeliver: 5,
		MaxRequestBatch: 100, MaxRequestExpires: 30 * time.Second, MaxRequestMaxBytes: 1 << 20,
	}
}

// send publishes messages in order, all in flight at once. Those that a stream
// refuses for what they are, are logged and left out; any other failure fails
// the whole, which may then be sent again.
func (s *Streams) send(ctx context.Context, msgs []*nats.Msg) error {
	for i, ack := range s.pipeline.publish(ctx, msgs...) {
		switch {
		case ack.err == nil:
		case hasCode(ack.err, codeMessageTooLarge, codeStreamFull), errors.Is(ack.err, nats.ErrMaxPayload):
			s.refused(msgs[i], ack.err)
		default:
			return fmt.Errorf("publish on %s: %w", msgs[i].Subject, ack.err)
		}
	}
	return nil
}

// missing tells that nobody listens on a subject: its stream is not there.
func missing(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

func (s *Streams) refused(m *nats.Msg, err error) {
	s.log.Warn("a feed's stream refuses a message; the feed goes on without it",
		"subject", m.Subject, "bytes", len(m.Data), "error", err)
}
