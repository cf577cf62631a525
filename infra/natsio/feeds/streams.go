package feeds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Names of the streams and durable consumers of the wire contract.
const (
	AgentState    = "AGENT_STATE"
	TaskExecution = "TASK_EXECUTION"
	AgentMessages = "AGENT_MESSAGES"

	taskProcessor    = "task-processor"
	messageProcessor = "message-batch-processor"
)

// Streams opens the streams of the wire contract. It creates missing ones with
// the limits of the topology document and does not change existing ones.
type Streams struct {
	nc        *nats.Conn
	JS        jetstream.JetStream
	publisher *natsio.Publisher
	Subjects  natsio.Subjects
	embedded  bool
	Log       *slog.Logger
}

// NewStreams returns the streams on a connection; embedded means that the server
// is the engine's own.
func NewStreams(nc *nats.Conn, s natsio.Subjects, embedded bool, log *slog.Logger) (*Streams, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	publisher, err := natsio.NewPublisher(nc)
	if err != nil {
		return nil, err
	}
	return &Streams{nc: nc, JS: js, publisher: publisher, Subjects: s, embedded: embedded, Log: log}, nil
}

// config returns a stream's configuration of the topology document, except for
// replicas and placement, which depend on the servers.
func (s *Streams) config(name string) jetstream.StreamConfig {
	root := s.Subjects.Root
	switch name {
	case AgentState:
		return jetstream.StreamConfig{
			Name: AgentState, Description: "Agent state changes and lifecycle events",
			Subjects: []string{root("agents.state.") + ">", root("agents.lifecycle.") + ">", root("agents.heartbeat.") + ">"},
			Storage:  jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
			MaxAge: time.Hour, MaxMsgs: 1_000_000, MaxBytes: 2 << 30, MaxMsgSize: 1 << 20,
			Duplicates: 2 * time.Minute, AllowRollup: true,
		}
	case TaskExecution:
		return jetstream.StreamConfig{
			Name: TaskExecution, Description: "Task lifecycle events and execution tracking",
			Subjects: []string{root("tasks.created.") + ">", root("tasks.started.") + ">", root("tasks.completed.") + ">",
				root("tasks.failed.") + ">", root("tasks.cancelled.") + ">"},
			Storage: jetstream.FileStorage, Retention: jetstream.InterestPolicy, Discard: jetstream.DiscardOld,
			MaxAge: 24 * time.Hour, MaxMsgs: 10_000_000, MaxBytes: 5 << 30, MaxMsgSize: 5 << 20,
			Duplicates: 5 * time.Minute,
		}
	}
	return jetstream.StreamConfig{
		Name: AgentMessages, Description: "Inter-agent communication and messaging",
		Subjects: []string{root("messages.direct.") + ">", root("messages.broadcast.") + ">", root("messages.notification.") + ">"},
		Storage:  jetstream.MemoryStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: 5 * time.Minute, MaxMsgs: 100_000, MaxBytes: 100 << 20, MaxMsgSize: 256 << 10,
		Duplicates: 2 * time.Minute, Replicas: 1,
	}
}

// Open opens a stream and creates it if it is missing.
func (s *Streams) Open(ctx context.Context, name string) (jetstream.Stream, error) {
	st, err := s.JS.Stream(ctx, name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return st, err
	}
	sc := s.config(name)
	if name == AgentState && s.embedded {
		// The feed publishes again what a crash loses. Not so for tasks: a worker's
		// ack must not apply to another message that gets the same sequence.
		sc.PersistMode = jetstream.AsyncPersistMode
	}
	if st, err = natsio.OpenStream(ctx, s.JS, sc); err != nil {
		return nil, err
	}
	if got := st.CachedInfo().Config.MaxBytes; got != sc.MaxBytes {
		s.Log.Warn("the server cannot reserve the maximum size of the stream; the stream has another limit",
			"stream", name, "max_bytes", sc.MaxBytes, "in_force", got)
	}
	return st, nil
}

// ensureConsumer creates a durable consumer if it is missing, and returns when it was
// created.
func (s *Streams) ensureConsumer(ctx context.Context, st jetstream.Stream, cfg jetstream.ConsumerConfig) (created time.Time, err error) {
	c, err := st.Consumer(ctx, cfg.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c, err = st.CreateConsumer(ctx, cfg)
	}
	if err != nil {
		return created, natsio.ConsumerError(st.CachedInfo().Config.Name, cfg.Durable, err)
	}
	return c.CachedInfo().Created, nil
}

// taskConsumer is task-processor of the topology document. A pull consumer has
// no rate_limit on the server; the worker applies it.
func (s *Streams) taskConsumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: taskProcessor, Description: "Processes task execution events",
		FilterSubject: s.Subjects.Root("tasks.started.") + ">", DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second, MaxDeliver: 3, MaxAckPending: 100,
		ReplayPolicy: jetstream.ReplayInstantPolicy,
	}
}

// messageConsumer is message-batch-processor of the topology document, for workers.
func (s *Streams) messageConsumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: messageProcessor, Description: "Batch processing of agent messages",
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: 60 * time.Second, MaxDeliver: 5,
		MaxRequestBatch: 100, MaxRequestExpires: 30 * time.Second, MaxRequestMaxBytes: 1 << 20,
	}
}

// send publishes messages in order, all in flight at once. It logs and skips a
// message that is too large. Any other failure fails the batch, also a stream without room
// that keeps its old messages; the caller may send it again.
func (s *Streams) send(ctx context.Context, msgs []*nats.Msg) error {
	for i, ack := range s.publisher.Publish(ctx, msgs...) {
		switch {
		case ack.Err == nil:
		case natsio.HasCode(ack.Err, natsio.CodeMessageTooLarge), errors.Is(ack.Err, nats.ErrMaxPayload):
			s.Log.Warn("a stream rejects a message; the view skips it",
				"subject", msgs[i].Subject, "bytes", len(msgs[i].Data), "error", ack.Err)
		default:
			return fmt.Errorf("publish on %s: %w", msgs[i].Subject, ack.Err)
		}
	}
	return nil
}
