package httpserver

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// maxHTTP bounds the open connections of the HTTP server: more would take the descriptors
// that the journal needs for its files. The last place is made free by closing the
// connection that has sent no request for the longest time; one that sends a request too
// slowly is closed after ReadHeaderTimeout.
const maxHTTP = 256

// limitedListener accepts a connection when it has a place for it.
type limitedListener struct {
	net.Listener
	places  chan struct{}
	makeWay func() // called when all places are taken
	closed  chan struct{}
	once    sync.Once
}

func limited(l net.Listener, connections int, makeWay func()) net.Listener {
	return &limitedListener{Listener: l, places: make(chan struct{}, connections), makeWay: makeWay, closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	if len(l.places) == cap(l.places) {
		l.makeWay()
	}
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &placedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close implements net.Listener.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// waitingConns are the connections on which the server waits for a request.
type waitingConns struct {
	mu    sync.Mutex
	since map[net.Conn]time.Time
}

// state is the server's ConnState.
func (w *waitingConns) state(c net.Conn, s http.ConnState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s == http.StateNew || s == http.StateIdle {
		w.since[c] = time.Now()
	} else {
		delete(w.since, c)
	}
}

// closeOldest closes the connection that waits for the longest time.
func (w *waitingConns) closeOldest() {
	w.mu.Lock()
	var oldest net.Conn
	for c, at := range w.since {
		if oldest == nil || at.Before(w.since[oldest]) {
			oldest = c
		}
	}
	delete(w.since, oldest)
	w.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close() // it is of no use either way
	}
}

type placedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *placedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
