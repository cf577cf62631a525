package mcp

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/tidemark-engine/tidemark/client"
)

const (
	maxSeats   = 64               // connections of principals
	seatsOfOne = 16               // of one principal, which may confine itself in many ways
	maxOpening = 8                // at once: unknown credentials do not push those of principals out
	idleTime   = 10 * time.Minute // then a connection is closed
	patience   = 15 * time.Second // of a command or query
)

var (
	errBusy   = errors.New("too many requests at once")
	errClosed = errors.New("the server is closed")
)

// pool keeps a connection for each principal that sends requests, and for each way in which
// they confine themselves.
type pool struct {
	open func(credentials []byte, o Options, ended func()) (*seat, error)

	mu       sync.Mutex
	seats    map[[sha256.Size]byte]*seat
	holders  map[[sha256.Size]byte]*holder
	requests int // at once
	opening  int // seats
	closed   bool
}

// holder is what one principal has, however it confines itself.
type holder struct{ seats, requests, streams int }

// seat is a connection with what is served over it.
type seat struct {
	key, of  [sha256.Size]byte // of: its holder's
	ready    chan struct{}     // closed when it is open, or err is set
	err      error
	ended    context.Context // ends with the connection
	end      context.CancelFunc
	server   *Server // for protocols with subscriptions
	older    *Server // for those that need a session for them, outside of one
	sessions *sessions
	close    func()

	requests, streams int
	idle              *time.Timer
	last              time.Time // when its last request has ended
}

func keyOf(credentials []byte, o Options) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%q %t %s", o.Agent, o.ReadOnly, credentials))
}

// holderOf names the principal of a seat by its key: base64 has several texts of one JWT. In
// development mode there is no principal.
func holderOf(credentials []byte, o Options) [sha256.Size]byte {
	if credentials == nil {
		return keyOf(nil, o)
	}
	if pair, err := jwt.ParseDecoratedUserNKey(credentials); err == nil {
		defer pair.Wipe()
		if public, err := pair.PublicKey(); err == nil {
			return sha256.Sum256([]byte(public))
		}
	}
	return sha256.Sum256(credentials)
}

// take takes part in the seat of the credentials, which is opened first if there is none.
// give gives it back.
func (p *pool) take(ctx context.Context, credentials []byte, o Options, stream bool) (*seat, error) {
	s, first, err := p.place(keyOf(credentials, o), holderOf(credentials, o), stream)
	if err != nil {
		return nil, err
	}
	if first {
		p.fill(s, credentials, o)
	}
	select {
	case <-s.ready:
		err = s.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		p.give(s, stream)
		return nil, err
	}
	return s, nil
}

// fill opens a seat.
func (p *pool) fill(s *seat, credentials []byte, o Options) {
	opened, err := p.open(credentials, o, func() { p.drop(s) })
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(s.ready)
	p.opening--
	if err == nil {
		s.server, s.older, s.sessions, s.close = opened.server, opened.older, opened.sessions, opened.close
		if len(p.seats) > maxSeats && !p.makeWay(func(*seat) bool { return true }) {
			err = errBusy
		}
	}
	if s.err = err; err != nil && p.seats[s.key] == s {
		p.remove(s)
	}
}

// place counts a request and finds its seat; first = the caller opens it.
func (p *pool) place(key, of [sha256.Size]byte, stream bool) (s *seat, first bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false, errClosed
	}
	h := p.holders[of]
	if h == nil {
		h = &holder{}
	}
	if p.requests >= maxRequests || h.requests >= maxOfOne || stream && h.streams >= maxStreams {
		return nil, false, errBusy
	}
	s = p.seats[key]
	if s == nil {
		if p.opening >= maxOpening || h.seats >= seatsOfOne && !p.makeWay(func(s *seat) bool { return s.of == of }) {
			return nil, false, errBusy
		}
		p.opening++
		if p.seats == nil {
			p.seats, p.holders = map[[sha256.Size]byte]*seat{}, map[[sha256.Size]byte]*holder{}
		}
		s = &seat{key: key, of: of, ready: make(chan struct{})}
		s.ended, s.end = context.WithCancel(context.Background())
		p.seats[key], p.holders[of], first = s, h, true
		h.seats++
	}
	p.requests++
	s.requests++
	h.requests++
	if stream {
		s.streams++
		h.streams++
	}
	if s.idle != nil {
		s.idle.Stop()
	}
	return s, first, nil
}

// give ends a request.
func (p *pool) give(s *seat, stream bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.holders[s.of]
	p.requests--
	s.requests--
	h.requests--
	if stream {
		s.streams--
		h.streams--
	}
	if s.requests > 0 {
		return
	}
	p.forget(s.of)
	if p.seats[s.key] != s {
		s.free()
		return
	}
	s.last = time.Now()
	s.idle = time.AfterFunc(idleTime, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if s.requests == 0 && p.seats[s.key] == s {
			p.remove(s)
		}
	})
}

// forget removes a holder that has nothing. It is called with mu held.
func (p *pool) forget(of [sha256.Size]byte) {
	if h := p.holders[of]; h != nil && *h == (holder{}) {
		delete(p.holders, of)
	}
}

// makeWay removes that seat of some which is idle for the longest time. It is called with mu
// held.
func (p *pool) makeWay(some func(*seat) bool) bool {
	var oldest *seat
	for _, s := range p.seats {
		if s.requests == 0 && some(s) && (oldest == nil || s.last.Before(oldest.last)) {
			oldest = s
		}
	}
	if oldest != nil {
		p.remove(oldest)
	}
	return oldest != nil
}

// drop takes a seat whose connection has ended away; its requests end.
func (p *pool) drop(s *seat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seats[s.key] == s {
		p.remove(s)
	}
}

// remove takes a seat away. What it holds is freed after its last request. It is called
// with mu held.
func (p *pool) remove(s *seat) {
	delete(p.seats, s.key)
	p.holders[s.of].seats--
	p.forget(s.of)
	s.end()
	if s.idle != nil {
		s.idle.Stop()
	}
	if s.requests == 0 {
		s.free()
	}
}

// free closes what the seat holds, once.
func (s *seat) free() {
	if s.close != nil {
		go s.close() // it waits for watches, and its connection calls drop
		s.close = nil
	}
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.seats {
		p.remove(s)
	}
}

// open connects and makes what is served over the connection.
func (h *HTTP) open(credentials []byte, o Options, ended func()) (*seat, error) {
	nc, err := h.o.Dial(credentials, ended)
	if err != nil {
		return nil, err
	}
	engine, err := client.New(nc, client.WithPrefix(h.o.Prefix), client.WithPatience(patience), client.WithWriter("mcp"))
	if err != nil {
		nc.Close()
		return nil, err
	}
	older := o
	o.subscriptions, older.subscriptions = ofRequest, ofNone
	s := &seat{server: New(engine, o), older: New(engine, older), sessions: newSessions(engine, older, h.o.MaxBody)}
	s.close = func() {
		s.sessions.close()
		s.server.Close()
		nc.Close()
	}
	return s, nil
}
