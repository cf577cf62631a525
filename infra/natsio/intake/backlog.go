package intake

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
)

// backlog bounds what of COMMANDS one client may fill: one whose commands wait for longer
// than they are executed would have those of all others refused. It counts what this engine
// has stored for each client, and asks the server once in a while how much of it is left.
type backlog struct {
	// look returns the room of COMMANDS and how much of it is used, in bytes, and when the
	// oldest command was stored; zero = there is none.
	look func(ctx context.Context) (room, used int64, oldest time.Time, err error)

	mu         sync.Mutex
	room, used int64     // room: 0 = not known; used: at the last look, and what was stored since
	looked     time.Time // zero = never
	looking    bool
	clients    map[string]*stored
}

// stored are the commands of one client that may wait, oldest first.
type stored struct {
	bytes    int64
	commands int
	parts    []storedPart
}

// storedPart is what was stored in about a partTime.
type storedPart struct {
	since, last time.Time
	bytes       int64
	commands    int
}

// manyWaiting is how many commands of a client may wait before its later ones go to the slow
// lanes.
const manyWaiting = 256

const (
	lookEvery = time.Second
	lookTime  = 5 * time.Second
	partTime  = time.Second
	// storeTime is how long a command may be on its way into the stream.
	storeTime = 2 * time.Second
	// storedOverhead is what a command takes there beside its own bytes.
	storedOverhead = 64
)

// enter counts a command of size bytes, or refuses it with 429 engine.overloaded: a client
// may have no more waiting than what is free, so that several greedy ones leave room too.
// many reports whether the client has many waiting.
func (b *backlog) enter(client string, size int, now time.Time) (many bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.looked) >= lookEvery && !b.looking {
		b.looking = true
		go b.refresh()
	}
	c := b.clients[client]
	if c != nil && b.room > 0 && min(c.bytes, b.used) > b.room-b.used {
		return true, domain.Errorf(domain.Overloaded, "engine.overloaded", "%d bytes of commands of this client wait, more than what is free for all others: retry later", min(c.bytes, b.used))
	}
	if c == nil {
		if b.clients == nil {
			b.clients = map[string]*stored{}
		}
		c = &stored{}
		b.clients[strings.Clone(client)] = c // it may be a part of a message
	}
	bytes := int64(size + storedOverhead)
	c.bytes, c.commands, b.used = c.bytes+bytes, c.commands+1, b.used+bytes
	if n := len(c.parts); n == 0 || now.Sub(c.parts[n-1].since) >= partTime {
		c.parts = append(c.parts, storedPart{since: now})
	}
	last := &c.parts[len(c.parts)-1]
	last.last, last.bytes, last.commands = now, last.bytes+bytes, last.commands+1
	return c.commands > manyWaiting, nil
}

// refresh looks at the stream and forgets what has left it.
func (b *backlog) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	began := time.Now()
	room, used, oldest, err := b.look(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looking = false
	if err != nil {
		b.looked = began // the next look is not due at once
		return
	}
	b.seen(room, used, oldest, began)
}

// seen takes what a look has found. It is called with the lock.
func (b *backlog) seen(room, used int64, oldest, at time.Time) {
	b.room, b.used, b.looked = room, used, at
	if oldest.IsZero() {
		oldest = at
	}
	for name, c := range b.clients {
		for len(c.parts) > 0 && c.parts[0].last.Add(storeTime).Before(oldest) {
			c.bytes, c.commands = c.bytes-c.parts[0].bytes, c.commands-c.parts[0].commands
			c.parts = c.parts[1:]
		}
		if len(c.parts) == 0 {
			delete(b.clients, name)
		}
	}
}

// room returns how many bytes COMMANDS takes and has, and when its oldest command was
// stored; zero = there is none.
func (in *Intake) room(ctx context.Context) (room, used int64, oldest time.Time, err error) {
	s, err := in.js.Stream(ctx, CommandsStream)
	if err != nil {
		return 0, 0, oldest, err
	}
	info := s.CachedInfo()
	if room = info.Config.MaxBytes; room <= 0 {
		room = commandBytes
	}
	if info.State.Msgs > 0 {
		oldest = firstStoredAt(info, time.Now())
	}
	return room, int64(info.State.Bytes), oldest, nil
}

// firstStoredAt is when the first message of a stream was stored, by this engine's clock: the
// server's may be another one.
func firstStoredAt(info *jetstream.StreamInfo, now time.Time) time.Time {
	return now.Add(-info.TimeStamp.Sub(info.State.FirstTime))
}
