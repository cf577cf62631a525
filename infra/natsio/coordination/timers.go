package coordination

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Timers are durable timers: scheduled messages that JetStream delivers at their
// time (ADR-51) to one of the engines.
type Timers struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	root   string // "timers."
	log    *slog.Logger
	keeper *natsio.StreamKeeper
	purged atomic.Bool // another program has removed messages; see Armed
	server serverClock
	late   bool // the server waits for its timers too long; used by Check

	mu      sync.Mutex
	due     func(ctx context.Context, name string) error // nil = not watched
	cancel  context.CancelFunc
	wait    jetstream.ConsumeContext
	running sync.WaitGroup
}

// TimerStream is the stream of the timers.
const TimerStream = "TIMERS"

const (
	timerConsumer = "timers"
	// timerAckWait is how long a timer that fired stays with a dead or frozen engine.
	timerAckWait = 5 * time.Second
	// maxTimersRunning is the number of timers that one engine handles at once.
	maxTimersRunning = 256
	// timerRetryMax bounds the pause before a failed timer is redelivered, and
	// timerWaitMax that of one that waits for a store. It starts at a second and
	// doubles.
	timerRetryMax = time.Minute
	timerWaitMax  = 5 * time.Second
)

// rangeEnd is the latest time of a schedule: the server counts nanoseconds in 64
// bits, until April 2262.
var rangeEnd = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)

// OpenTimers opens the stream TIMERS and creates it if it does not exist.
func OpenTimers(ctx context.Context, nc *nats.Conn, s natsio.Subjects, log *slog.Logger) (*Timers, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	t := &Timers{js: js, root: s.Root("timers."), log: log}
	t.keeper = &natsio.StreamKeeper{JS: js, Config: t.config(), Log: log}
	if t.stream, err = natsio.OpenStream(ctx, js, t.config()); err != nil {
		return nil, err
	}
	err = natsio.Attempt(ctx, func(ctx context.Context) error {
		_, err := t.readClock(ctx)
		return err
	})
	t.purged.Store(t.server.differs()) // the difference may be another one than when the timers were set
	return t, err
}

func (t *Timers) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: TimerStream, Description: "Tidemark's timers: task deadlines",
		Subjects: []string{t.root + ">"}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		MaxMsgsPerSubject: 1, AllowMsgSchedules: true, AllowMsgTTL: true, AllowDirect: true,
	}
}

// Set schedules a timer; a second call replaces the first. It fires at its time by this
// engine's clock or within about 0.3 s after it, one that is nearer than a second within
// that second; a time in the past fires at once. A timer beyond rangeEnd fires there. Where
// the clock of the server is another one, the timer may fire early until the difference is
// known.
func (t *Timers) Set(ctx context.Context, name string, at time.Time) error {
	// gofail: var timerSet struct{}
	// return context.DeadlineExceeded
	msg := &nats.Msg{Subject: t.root + "due." + name}
	if at.After(t.server.time()) {
		if at = t.server.schedule(at); at.After(rangeEnd) {
			at = rangeEnd
		}
		msg = &nats.Msg{Subject: t.root + "at." + name, Header: nats.Header{
			"Nats-Schedule":        []string{"@at " + at.UTC().Format(time.RFC3339Nano)},
			"Nats-Schedule-Target": []string{msg.Subject},
		}}
	}
	if _, err := t.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("set the timer %s: %w", name, err)
	}
	return nil
}

// Watch calls due for every timer that fires, in one engine per timer and for
// many timers at once. After an error the timer is redelivered, later each time;
// it never holds back another one. Any client may publish a message that looks
// like a timer.
func (t *Timers) Watch(due func(ctx context.Context, name string) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.due = due
	return t.watch()
}

func (t *Timers) watch() error {
	due := t.due
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	createCtx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	var c jetstream.Consumer
	err := natsio.Attempt(createCtx, func(ctx context.Context) (err error) {
		c, err = t.js.CreateOrUpdateConsumer(ctx, TimerStream, jetstream.ConsumerConfig{
			Durable: timerConsumer, FilterSubject: t.root + "due.>", AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: timerAckWait, MaxAckPending: -1,
		})
		return err
	})
	if err != nil {
		cancel()
		return fmt.Errorf("watch timers: %w", natsio.ConsumerError(TimerStream, timerConsumer, err))
	}
	slots := make(chan struct{}, maxTimersRunning)
	t.wait, err = c.Consume(func(msg jetstream.Msg) {
		slots <- struct{}{}
		t.running.Go(func() {
			defer func() { <-slots }()
			t.handle(ctx, msg, due)
		})
	}, jetstream.PullMaxMessages(50), jetstream.PullHeartbeat(2*time.Second))
	return err
}

func (t *Timers) handle(ctx context.Context, msg jetstream.Msg, due func(ctx context.Context, name string) error) {
	name := strings.TrimPrefix(msg.Subject(), t.root+"due.")
	meta, err := msg.Metadata()
	if err != nil {
		return // not from the stream
	}
	if meta.NumDelivered == 1 {
		t.server.fired(meta.Timestamp)
	}
	// gofail: var timerDue struct{}
	// return
	if err := due(ctx, name); err != nil {
		pause := retryPause(meta.NumDelivered, err)
		if meta.NumDelivered == 1 {
			t.log.Warn("executing a timer's command failed; the timer is redelivered", "timer", name, "error", err)
		}
		_ = msg.NakWithDelay(pause) // on failure it is redelivered after timerAckWait
		return
	}
	// gofail: var timerAck struct{}
	// return
	if err := msg.Ack(); err != nil {
		t.log.Warn("acknowledging a timer failed; it is redelivered", "timer", name, "error", err)
		return
	}
	_ = t.stream.DeleteMsg(ctx, meta.Sequence.Stream) // the stream keeps what is acknowledged; on failure that does no harm
}

// retryPause is the pause before a timer is redelivered that has failed.
func retryPause(delivered uint64, err error) time.Duration {
	limit := timerRetryMax
	var known *domain.Error
	if natsio.Unanswered(err) || errors.As(err, &known) && known.Undecided() {
		limit = timerWaitMax
	}
	return min(time.Second<<min(delivered-1, 10), limit)
}

// Check makes the stream or the consumer again if it was removed, watches again where that has
// ended, and reports whether the timers were lost, so that the caller sets them again. After a clock was set,
// of this engine or of the server, Armed is false until Arm. Where both were, as on one
// machine that has slept, the stream is made again: its server waits for its next timer by
// a clock that follows no change of the time.
func (t *Timers) Check(ctx context.Context) (lost bool, few string, err error) {
	lost, few, err = t.keeper.Check(ctx)
	if err != nil {
		return false, few, err
	}
	change, err := t.readClock(ctx)
	if err != nil {
		return false, few, err
	}
	if change != noClock {
		t.log.Warn("the clock of the engine or of its server was set, or the machine has slept; the timers are set again")
		t.purged.Store(true)
		t.late = t.late || change == bothClocks
	}
	if t.late {
		if err := t.js.DeleteStream(ctx, TimerStream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return false, few, fmt.Errorf("make the stream %s again: %w", TimerStream, err)
		}
		t.late = false
		if lost, few, err = t.keeper.Check(ctx); err != nil {
			return false, few, err
		}
	}
	_, err = t.js.Consumer(ctx, TimerStream, timerConsumer)
	missing := errors.Is(err, jetstream.ErrConsumerNotFound)
	if err != nil && !missing && !lost {
		return false, few, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.due == nil || !lost && !missing && t.watches() {
		return lost, few, nil
	}
	t.stop()
	return lost, few, t.watch()
}

// watches reports whether timers are delivered to this engine. They are no more where the
// consumer was removed, also when another engine has made it again since.
func (t *Timers) watches() bool {
	if t.wait == nil {
		return false
	}
	select {
	case <-t.wait.Closed():
		return false
	default:
		return true
	}
}

// Stop ends Watch.
func (t *Timers) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.due = nil
	t.stop()
}

func (t *Timers) stop() {
	if t.wait != nil {
		t.wait.Stop()
		<-t.wait.Closed()
		t.wait = nil
	}
	if t.cancel != nil {
		t.cancel()
	}
	t.running.Wait()
}
