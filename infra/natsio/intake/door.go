package intake

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// door stands between JetStream's deliveries and Watermill. Watermill's
// subscriber panics when it is closed while a delivery is under way (send on a
// closed channel), so the door is shut first, and nothing is on the way any
// more when Watermill closes. It also keeps what is under way from being
// delivered a second time.
type door struct {
	mu       sync.Mutex
	closed   bool
	inside   sync.WaitGroup // deliveries under way
	watching sync.WaitGroup
	consumes []jetstream.ConsumeContext
	broken   chan struct{} // closed when a consumer ends before the door is shut
	once     sync.Once
}

func newDoor() *door { return &door{broken: make(chan struct{})} }

// giveBack is how long the server keeps what came to a shut door, so that it
// does not come again before the subscription has ended.
const giveBack = 100 * time.Millisecond

// guarded is a consumer behind the door.
type guarded struct {
	jetstream.Consumer
	door *door
	beat time.Duration // how often the server is told that a message is worked on
	pull int
}

// Consume implements jetstream.Consumer. One callback runs at a time and
// returns when Watermill's handler has acknowledged.
func (g *guarded) Consume(handle jetstream.MessageHandler, opts ...jetstream.PullConsumeOpt) (jetstream.ConsumeContext, error) {
	opts = append(opts, jetstream.PullMaxMessages(g.pull), jetstream.PullExpiry(30*time.Second), jetstream.PullHeartbeat(2*time.Second),
		jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) { g.doubt() }))
	cc, err := g.Consumer.Consume(func(msg jetstream.Msg) {
		if !g.door.enter() {
			_ = msg.NakWithDelay(giveBack) // unsent, the server's ack wait does the same
			return
		}
		defer g.door.inside.Done()
		alive := keepAlive(msg, g.beat)
		defer alive.stop()
		handle(msg)
	}, opts...)
	if err != nil {
		return nil, err
	}
	g.door.watch(cc)
	return cc, nil
}

// doubt looks whether the consumer is still there: one that was deleted between
// two pulls only stays silent. Any other trouble passes by itself.
func (g *guarded) doubt() {
	if !g.door.enter() {
		return
	}
	go func() {
		defer g.door.inside.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := g.Info(ctx)
		if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
			g.door.once.Do(func() { close(g.door.broken) })
		}
	}()
}

func (d *door) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.inside.Add(1)
	return true
}

func (d *door) watch(cc jetstream.ConsumeContext) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.consumes = append(d.consumes, cc)
	ended := cc.Closed()
	d.watching.Go(func() {
		<-ended
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.closed {
			d.once.Do(func() { close(d.broken) })
		}
	})
}

// shut lets nothing more in and returns when nothing is inside.
func (d *door) shut() {
	d.mu.Lock()
	d.closed = true
	consumes := d.consumes
	d.mu.Unlock()
	for _, cc := range consumes {
		cc.Drain() // what was fetched ahead comes to the shut door and is given back
	}
	d.inside.Wait()
}

// gone returns when the consumers have ended, after their connection has.
func (d *door) gone() { d.watching.Wait() }

// heartbeat tells the server again and again that a message is worked on.
type heartbeat struct {
	mu    sync.Mutex
	timer *time.Timer // nil = stopped
}

func keepAlive(msg jetstream.Msg, every time.Duration) *heartbeat {
	h := &heartbeat{}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(every, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.timer != nil {
			_ = msg.InProgress() // unsent, the message is delivered again and found done
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
