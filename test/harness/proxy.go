package harness

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Link is how a Proxy treats the bytes of one direction.
type Link struct {
	Stalled bool          // nothing passes until the link is healed; then all of it does
	Delay   time.Duration // of every byte
	Drip    int           // bytes that pass every 10 ms; 0 = no limit
}

// Proxy is a TCP proxy between a client and a server, which a test disturbs.
type Proxy struct {
	Address string

	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	toward  Link          // from the client to the server
	back    Link          // from the server to the client
	refuses bool          // new connections are closed at once
	changed chan struct{} // closed and replaced when any of these changes
	conns   map[net.Conn]bool
	closed  bool
}

// NewProxy starts a proxy before a server's address; it ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", FreeAddress(t))
	Must(t, err)
	p := &Proxy{Address: l.Addr().String(), target: target, listener: l, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		_ = l.Close()
		p.Reset()
		p.running.Wait()
	})
	return p
}

// Set treats both directions of all connections so.
func (p *Proxy) Set(toward, back Link) { p.set(toward, back, false) }

// Heal lets everything pass.
func (p *Proxy) Heal() { p.set(Link{}, Link{}, false) }

// Cut ends all connections and refuses new ones.
func (p *Proxy) Cut() {
	p.set(Link{}, Link{}, true)
	p.Reset()
}

// Reset ends all connections with a reset; new ones are accepted.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

func (p *Proxy) set(toward, back Link, refuses bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.toward, p.back, p.refuses = toward, back, refuses
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuses := p.refuses
		p.mu.Unlock()
		if refuses {
			_ = client.Close()
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.keep(client, server) {
			return
		}
		gone := make(chan struct{})
		var once sync.Once
		end := func() {
			once.Do(func() {
				close(gone)
				p.mu.Lock()
				defer p.mu.Unlock()
				for _, c := range []net.Conn{client, server} {
					_ = c.Close()
					delete(p.conns, c)
				}
			})
		}
		p.pump(client, server, func() Link { return p.toward }, gone, end)
		p.pump(server, client, func() Link { return p.back }, gone, end)
	}
}

// keep remembers connections for Reset; false when the proxy has ended.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			_ = c.Close()
			continue
		}
		p.conns[c] = true
	}
	return !p.closed
}

// part is bytes that were read at a time.
type part struct {
	at   time.Time
	data []byte
}

// pump copies one direction of a connection.
func (p *Proxy) pump(from, to net.Conn, link func() Link, gone <-chan struct{}, end func()) {
	parts := make(chan part, 256)
	p.running.Go(func() {
		defer close(parts)
		for {
			b := make([]byte, 16<<10)
			n, err := from.Read(b)
			if n > 0 {
				select {
				case parts <- part{time.Now(), b[:n]}:
				case <-gone:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	p.running.Go(func() {
		defer end()
		for b := range parts {
			for len(b.data) > 0 {
				n := p.pass(&b, link, gone)
				if n == 0 {
					return
				}
				if _, err := to.Write(b.data[:n]); err != nil {
					return
				}
				b.data = b.data[n:]
			}
		}
	})
}

// pass waits until bytes of a part may pass, and returns how many; 0 = the connection
// has ended.
func (p *Proxy) pass(b *part, link func() Link, gone <-chan struct{}) int {
	for {
		p.mu.Lock()
		l, changed := link(), p.changed
		p.mu.Unlock()
		wait := max(time.Until(b.at.Add(l.Delay)), 0)
		if l.Drip > 0 {
			wait = 10 * time.Millisecond
		}
		if l.Stalled {
			wait = time.Hour
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
			timer.Stop()
		case <-gone:
			timer.Stop()
			return 0
		case <-timer.C:
			if l.Drip > 0 {
				return min(l.Drip, len(b.data))
			}
			return len(b.data)
		}
	}
}
