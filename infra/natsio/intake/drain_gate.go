package intake

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// drainGate stands between JetStream's deliveries and Watermill. Watermill's
// subscriber panics when it is closed during a delivery (send on a closed
// channel), so the gate drains before Watermill closes.
type drainGate struct {
	mu       sync.Mutex
	closed   bool
	inflight sync.WaitGroup // deliveries in progress
	watchers sync.WaitGroup
	consumes []jetstream.ConsumeContext
	broken   chan struct{} // closed when a consumer ends before the gate closes
	once     sync.Once
}

func newDrainGate() *drainGate { return &drainGate{broken: make(chan struct{})} }

func (g *drainGate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inflight.Add(1)
	return true
}

func (g *drainGate) leave() { g.inflight.Done() }

func (g *drainGate) markBroken() { g.once.Do(func() { close(g.broken) }) }

// watch reports the end of a consume context that drain did not cause.
func (g *drainGate) watch(cc jetstream.ConsumeContext) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.consumes = append(g.consumes, cc)
	ended := cc.Closed()
	g.watchers.Go(func() {
		<-ended
		g.mu.Lock()
		defer g.mu.Unlock()
		if !g.closed {
			g.markBroken()
		}
	})
}

// drain closes the gate and returns when no delivery is in progress.
func (g *drainGate) drain() {
	g.mu.Lock()
	g.closed = true
	consumes := g.consumes
	g.mu.Unlock()
	for _, cc := range consumes {
		cc.Drain() // prefetched messages reach the closed gate and are returned
	}
	g.inflight.Wait()
}

// wait returns when all consume contexts have ended; close the connection first.
func (g *drainGate) wait() { g.watchers.Wait() }

// returnDelay is how long the server keeps a message that a closed gate
// returned, so that the ending subscription does not get it again.
const returnDelay = 100 * time.Millisecond

// gatedConsumer delivers through a drain gate.
type gatedConsumer struct {
	jetstream.Consumer
	gate      *drainGate
	heartbeat time.Duration // interval of in-progress acks; 0 = none
	pull      int
}

// Consume implements jetstream.Consumer. Callbacks run one at a time. Those of
// Watermill's own subscriber return when the handler has acknowledged.
func (c *gatedConsumer) Consume(handle jetstream.MessageHandler, opts ...jetstream.PullConsumeOpt) (jetstream.ConsumeContext, error) {
	opts = append(opts, jetstream.PullMaxMessages(c.pull), jetstream.PullExpiry(30*time.Second), jetstream.PullHeartbeat(2*time.Second),
		jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) { c.checkExists() }))
	cc, err := c.Consumer.Consume(func(msg jetstream.Msg) {
		if !c.gate.enter() {
			_ = msg.NakWithDelay(returnDelay) // if it is lost, the ack wait has the same effect
			return
		}
		defer c.gate.leave()
		if c.heartbeat > 0 {
			beat := startHeartbeat(msg, c.heartbeat)
			defer beat.stop()
		}
		handle(msg)
	}, opts...)
	if err != nil {
		return nil, err
	}
	c.gate.watch(cc)
	return cc, nil
}

// checkExists asks the server after a consume error: a consumer that was
// deleted between two pulls only stays silent. Other errors are transient.
func (c *gatedConsumer) checkExists() {
	if !c.gate.enter() {
		return
	}
	go func() {
		defer c.gate.leave()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := c.Info(ctx)
		if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
			c.gate.markBroken()
		}
	}()
}

// heartbeat sends in-progress acks while a message is processed.
type heartbeat struct {
	mu    sync.Mutex
	timer *time.Timer // nil = stopped
}

func startHeartbeat(msg jetstream.Msg, every time.Duration) *heartbeat {
	h := &heartbeat{}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(every, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.timer != nil {
			_ = msg.InProgress() // if it is lost, a redelivery finds the work done
			h.timer.Reset(every)
		}
	})
	return h
}

func (h *heartbeat) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer.Stop()
	h.timer = nil
}
