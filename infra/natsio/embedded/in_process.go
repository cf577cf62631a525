package embedded

import (
	"net"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// inProcess connects clients whose credentials the server may refuse. Over the server's own
// pipe a refusal and the rest of the client's CONNECT would wait for each other.
type inProcess struct{ ns *server.Server }

// InProcessConn implements nats.InProcessConnProvider.
func (p inProcess) InProcessConn() (net.Conn, error) {
	c, err := p.ns.InProcessConn()
	if err != nil {
		return nil, err
	}
	u := &unblocked{Conn: c}
	u.changed.L = &u.mu
	go u.copy()
	return u, nil
}

// maxUnwritten is how many bytes wait for the server; then Write waits.
const maxUnwritten = 1 << 20

// unblocked is a connection whose writes do not wait for the other side to read.
type unblocked struct {
	net.Conn
	mu        sync.Mutex
	changed   sync.Cond
	unwritten []byte
	err       error // of a write; net.ErrClosed after Close
}

// Write implements net.Conn.
func (u *unblocked) Write(b []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.unwritten) > maxUnwritten && u.err == nil {
		u.changed.Wait()
	}
	if u.err != nil {
		return 0, u.err
	}
	u.unwritten = append(u.unwritten, b...)
	u.changed.Broadcast()
	return len(b), nil
}

// copy hands what is written to the server, until the connection ends.
func (u *unblocked) copy() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.err == nil {
		if len(u.unwritten) == 0 {
			u.changed.Wait()
			continue
		}
		bytes := u.unwritten
		u.unwritten = nil
		u.mu.Unlock()
		_, err := u.Conn.Write(bytes)
		u.mu.Lock()
		if u.err == nil {
			u.err = err
		}
		u.changed.Broadcast()
	}
}

// Close implements net.Conn.
func (u *unblocked) Close() error {
	u.mu.Lock()
	u.err = net.ErrClosed
	u.changed.Broadcast()
	u.mu.Unlock()
	return u.Conn.Close()
}
