// Package intake carries out what must not get lost on the way: commands that
// were stored before they were answered (enqueue.>, stream COMMANDS), and what
// reactors ask for because of an event. Watermill runs both and appears nowhere
// else: its router with recoverer, retry and poison queue, its CQRS command
// processor for commands and its event group processor for reactors.
package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Config of an intake.
type Config struct {
	Subjects natsio.Subjects
	// Connect opens a connection with the engine's rights. The intake closes it.
	Connect func(name string) (*nats.Conn, error)
	// Handle carries a command out, as commands.Handler does.
	Handle func(ctx context.Context, req commands.Request, done func(commands.Receipt, error))
	// Observe is told of every stored command that was settled: what it was
	// ("enqueue.agent.set"), what came of it and how long it took from its
	// delivery.
	Observe  func(kind, outcome string, took time.Duration)
	Reactors []reactors.Reactor
	Journal  Journal
	// Backoff is the first pause before something is tried again; it doubles up
	// to 300 times that. Default 100 ms.
	Backoff time.Duration
	Log     *slog.Logger
}

// Journal is what reactors need of it.
type Journal interface {
	Partitions() int
	At(ctx context.Context, partition int, revision uint64) (events.Record, error)
}

// Intake is running. Any number of engines may run one on the same servers:
// they share the consumers, so that each message is carried out by one of them.
type Intake struct {
	cfg      Config
	conn     *nats.Conn // for everything but deliveries
	js       jetstream.JetStream
	streams  streams
	stopping context.Context
	stop     context.CancelFunc
	flows    []*keeper
}

// Start makes the streams and consumers where there are none, and begins.
// Close it before the handler is closed.
func Start(ctx context.Context, cfg Config) (_ *Intake, err error) {
	if cfg.Backoff == 0 {
		cfg.Backoff = 100 * time.Millisecond
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, string, time.Duration) {}
	}
	in := &Intake{cfg: cfg}
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
	if in.streams, err = openStreams(ctx, in.conn, in.js, cfg.Subjects); err != nil {
		return nil, err
	}
	builds := []func(context.Context) (*flow, error){in.commandFlow}
	if len(cfg.Reactors) > 0 {
		builds = append(builds, in.reactorFlow)
	}
	for _, build := range builds {
		k, err := keep(ctx, in.stopping, build, cfg.Log)
		if err != nil {
			return nil, err
		}
		in.flows = append(in.flows, k)
	}
	return in, nil
}

// Close takes no more messages and returns when those under way are settled or
// given back to the stream. What it gives back is delivered again, to another
// engine or to the next start.
func (in *Intake) Close() {
	in.stop()
	for _, k := range in.flows {
		<-k.done
	}
	if in.conn != nil {
		in.conn.Close()
	}
}

// errStopping is why a message is given back to its stream.
var errStopping = fmt.Errorf("the engine is stopping: %w", context.Canceled)

// poison is the error of a message that no repetition can help.
type poison struct{ reason string }

func (p *poison) Error() string { return p.reason }

func isPoison(err error) bool {
	var p *poison
	return errors.As(err, &p)
}
