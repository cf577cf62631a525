package coordination

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Timers are durable timers: scheduled messages that JetStream delivers at their
// time (ADR-51) to one of the engines.
type Timers struct {
	js     jetstream.JetStream
	root   string // "timers."
	log    *slog.Logger
	cancel context.CancelFunc
	wait   jetstream.ConsumeContext
}

// OpenTimers opens the stream TIMERS and creates it if it does not exist.
func OpenTimers(ctx context.Context, nc *nats.Conn, s natsio.Subjects, log *slog.Logger) (*Timers, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	t := &Timers{js: js, root: s.Root("timers."), log: log}
	_, err = js.Stream(ctx, "TIMERS")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: "TIMERS", Description: "Tidemark's timers: task deadlines",
			Subjects: []string{t.root + ">"}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
			MaxMsgsPerSubject: 1, AllowMsgSchedules: true, AllowMsgTTL: true, AllowDirect: true, Replicas: natsio.Replicas(nc, 0),
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open the stream TIMERS: %w", err)
	}
	return t, nil
}

// Set schedules a timer; a second call replaces the first. A time in the past fires
// within a second. Times are truncated to seconds; the server fires within about
// 0.1 s of them.
func (t *Timers) Set(ctx context.Context, name string, at time.Time, body []byte) error {
	if soon := time.Now().Add(time.Second); at.Before(soon) {
		at = soon
	}
	msg := &nats.Msg{Subject: t.root + "at." + name, Data: body, Header: nats.Header{
		"Nats-Schedule":        []string{"@at " + at.UTC().Format(time.RFC3339)},
		"Nats-Schedule-Target": []string{t.root + "due." + name},
	}}
	if _, err := t.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("set the timer %s: %w", name, err)
	}
	return nil
}

// Watch calls due for every timer that fires, in one engine per timer. After an
// error the timer is redelivered.
func (t *Timers) Watch(due func(ctx context.Context, name string, body []byte) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	createCtx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	c, err := t.js.CreateOrUpdateConsumer(createCtx, "TIMERS", jetstream.ConsumerConfig{
		Durable: "timers", FilterSubject: t.root + "due.>", AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: 30 * time.Second, MaxAckPending: 100, BackOff: nil,
	})
	if err != nil {
		cancel()
		return fmt.Errorf("watch timers: %w", err)
	}
	t.wait, err = c.Consume(func(msg jetstream.Msg) {
		name := strings.TrimPrefix(msg.Subject(), t.root+"due.")
		if err := due(ctx, name, msg.Data()); err != nil {
			t.log.Warn("executing a timer's command failed; the timer is redelivered", "timer", name, "error", err)
			_ = msg.NakWithDelay(time.Second) // on failure it is redelivered after AckWait
			return
		}
		if err := msg.Ack(); err != nil {
			t.log.Warn("acknowledging a timer failed; it is redelivered", "timer", name, "error", err)
		}
	}, jetstream.PullMaxMessages(50), jetstream.PullHeartbeat(2*time.Second))
	return err
}

// Stop ends Watch.
func (t *Timers) Stop() {
	if t.wait != nil {
		t.wait.Stop()
		<-t.wait.Closed()
	}
	if t.cancel != nil {
		t.cancel()
	}
}
