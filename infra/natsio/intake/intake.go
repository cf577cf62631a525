// Package intake processes stored messages: commands from the stream COMMANDS
// (enqueue.>) and the journal's events for reactors. Each message ends as an
// outcome or as a dead letter. Watermill's router, command processor and event
// group processor run it; no other package uses Watermill. What a command or
// reactor does is decided elsewhere.
package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/logs"
	"github.com/tidemark-engine/tidemark/internal/trace"
)

// Config configures an intake.
type Config struct {
	Subjects natsio.Subjects
	// Connect opens a connection with the engine's permissions. The intake
	// closes it.
	Connect func(name string) (*nats.Conn, error)
	// Identify returns who an account of the server belongs to; nil for an account
	// that may not ask. Without Identify all clients share the engine's account.
	Identify func(account string) *identity.Caller
	Rates    *natsio.Rates // of the requests of each client; may be nil
	// Room returns why nothing may be stored now, or nil; nil = that is not known.
	Room func() error
	// Dev is the account of clients without credentials.
	Dev string
	// Send executes a command, as commands.Handler.Send does.
	Send reactors.Send
	// Observe is called for every stored command that has an outcome. kind is
	// the metrics label ("enqueue.agent.set"), result the receipt's outcome or
	// the error's status, and took the time since delivery.
	Observe  func(kind, result string, took time.Duration)
	Reactors []reactors.Reactor
	Journal  *history.History
	// Backoff is the first pause before a retry. It doubles up to 64 times
	// this value. Default 100 ms.
	Backoff time.Duration
	// DeadLetterAge is how long dead letters are kept; 0 = until they are retried
	// or dropped.
	DeadLetterAge time.Duration
	// DeadLetterBytes is how much those of the commands of one principal, or of all clients
	// without one, may fill; then the oldest of them are removed. Default 256 MiB.
	DeadLetterBytes int64
	Trace           *trace.Tracer // nil = no spans
	Log             *slog.Logger
}

// Intake is a running intake. Engines on the same servers share its consumers:
// each message goes to one of them.
type Intake struct {
	cfg      Config
	conn     *nats.Conn       // for everything but deliveries
	enqueue  *enqueueEndpoint // nil where clients write to the stream themselves
	js       jetstream.JetStream
	streams  streams
	stopping context.Context
	stop     context.CancelFunc
	routers  []<-chan struct{} // closed when a router has stopped for good
	gaveBack atomic.Bool       // deliveries of a command no longer count crashes
	// storedBefore is the last sequence of COMMANDS at the start.
	storedBefore uint64
	log          logs.Limited // for what clients can repeat
	keepers      []*natsio.StreamKeeper
	reports      jetstream.ConsumeContext // of tasks that were not delivered

	letters     sync.Mutex        // held while a dead letter is stored
	letterFloor map[string]uint64 // by subject: the sum before its first dead letter, or less
}

// Start creates missing streams and consumers and starts to process messages.
// Close the intake before the command handler.
func Start(ctx context.Context, cfg Config) (_ *Intake, err error) {
	if cfg.Backoff == 0 {
		cfg.Backoff = 100 * time.Millisecond
	}
	if cfg.DeadLetterBytes == 0 {
		cfg.DeadLetterBytes = letterBytes
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, string, time.Duration) {}
	}
	in := &Intake{cfg: cfg, letterFloor: map[string]uint64{}, log: logs.NewLimited(cfg.Log, logs.ByClients)}
	in.stopping, in.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			in.Close()
		}
	}()
	if in.conn, err = cfg.Connect("intake"); err != nil {
		return nil, err
	}
	if in.js, err = jetstream.New(in.conn); err != nil {
		return nil, err
	}
	if in.streams, err = openStreams(ctx, in.js, &in.cfg); err != nil {
		return nil, err
	}
	in.storedBefore = in.streams.commands.CachedInfo().State.LastSeq
	if _, err = natsio.OpenStream(ctx, in.js, undeliveredConfig()); err != nil {
		return nil, err
	}
	if err = in.watchUndelivered(ctx); err != nil {
		return nil, err
	}
	if cfg.Identify != nil {
		if in.enqueue, err = openEnqueueEndpoint(in); err != nil {
			return nil, err
		}
	}
	for _, stream := range []jetstream.StreamConfig{deadLettersConfig(in.streams, cfg.DeadLetterAge), commandsConfig(in.streams), outcomesConfig(in.streams), undeliveredConfig()} {
		in.keepers = append(in.keepers, &natsio.StreamKeeper{JS: in.js, Config: stream, Log: cfg.Log})
	}
	opens := []openFunc{in.openCommandRouter}
	if len(cfg.Reactors) > 0 {
		opens = append(opens, in.openReactorRouter)
	}
	for _, open := range opens {
		stopped, err := supervise(ctx, in.stopping, open, cfg.Log)
		if err != nil {
			return nil, err
		}
		in.routers = append(in.routers, stopped)
	}
	return in, nil
}

// Purged says that another program has removed enqueued commands. Other streams are
// ignored.
func (in *Intake) Purged(stream, connection string) {
	if stream == CommandsStream {
		in.log.Error("another program has removed enqueued commands; those that were not executed are lost", "stream", stream, "connection", connection)
	}
}

// Check makes the streams again that were removed, and returns their names: their
// messages are lost. few says which streams have fewer replicas than wanted. It fails
// while consumers are paused.
func (in *Intake) Check(ctx context.Context) (remade, few []string, err error) {
	for _, k := range in.keepers {
		if k.Config.Name == CommandsStream {
			k.Config = commandsConfig(in.streams) // its first sequence is of now
		}
		lost, less, kerr := k.Check(ctx)
		if lost {
			remade = append(remade, k.Config.Name)
		}
		if less != "" {
			few = append(few, less)
		}
		err = errors.Join(err, kerr)
	}
	return remade, few, errors.Join(err, in.checkUndelivered(ctx), in.checkPaused(ctx))
}

// Close takes no more messages and returns when each message in progress is
// settled or returned to its stream, which delivers it again later.
func (in *Intake) Close() {
	in.enqueue.close()
	in.stop()
	if in.reports != nil {
		in.reports.Stop()
		<-in.reports.Closed()
	}
	for _, stopped := range in.routers {
		<-stopped
	}
	if in.conn != nil {
		in.conn.Close()
	}
}

// errStopping is the cancellation cause of messages that go back to their
// stream.
var errStopping = fmt.Errorf("the engine is stopping: %w", context.Canceled)

// poisonError marks a message that no retry can process.
type poisonError struct{ reason string }

func (p *poisonError) Error() string { return p.reason }

func isPoison(err error) bool {
	var p *poisonError
	return errors.As(err, &p)
}
