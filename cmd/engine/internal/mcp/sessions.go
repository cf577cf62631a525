package mcp

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/tidemark-engine/tidemark/client"
)

const (
	sessionHeader = "Mcp-Session-Id"
	maxSessions   = 32               // of one principal; the one that was idle for longest makes way
	sessionIdle   = 10 * time.Minute // without a request or a stream; then a session ends
)

// sessions are those of one seat: clients of protocols before protocolWithListen subscribe
// in a session and are notified on its stream. A session holds nothing else, so a request
// whose session this engine does not know, because it was restarted or another engine began
// the session, is served like one without, unless it is about subscriptions.
type sessions struct {
	server  *Server
	handler http.Handler

	mu      sync.Mutex
	of      map[string]*visit
	closed  bool
	running sync.WaitGroup // sessions that end
}

// visit is one session.
type visit struct {
	requests int // under way, its stream included
	last     time.Time
	idle     *time.Timer
}

func newSessions(engine *client.Client, o Options, maxBody int64) *sessions {
	a := &sessions{of: map[string]*visit{}}
	o.subscriptions, o.sessionID = ofSession, a.begin
	a.server = New(engine, o)
	a.handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return a.server.mcp }, &mcp.StreamableHTTPOptions{
		JSONResponse: true, MaxRequestBodyBytes: maxBody, DisableLocalhostProtection: true, // admit has checked it
	})
	return a
}

// begin makes the id of a new session; "" = there are no more, and the request stands alone.
func (a *sessions) begin() string {
	id, v := rand.Text(), &visit{last: time.Now()}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ""
	}
	v.idle = time.AfterFunc(sessionIdle, func() { a.expire(id, v) })
	a.of[id] = v
	return id
}

// room reports whether one more session can begin.
func (a *sessions) room() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || len(a.of) < maxSessions {
		return !a.closed
	}
	oldest, at := "", time.Time{}
	for id, v := range a.of {
		if v.requests == 0 && (oldest == "" || v.last.Before(at)) {
			oldest, at = id, v.last
		}
	}
	if oldest == "" {
		return false
	}
	a.end(oldest)
	return true
}

// enter begins a request in a session; false = there is none. leave ends the request.
func (a *sessions) enter(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := a.of[id]
	if v == nil {
		return false
	}
	v.requests++
	v.idle.Stop()
	return true
}

func (a *sessions) leave(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if v := a.of[id]; v != nil {
		if v.requests--; v.requests == 0 {
			v.last = time.Now()
			v.idle.Reset(sessionIdle)
		}
	}
}

func (a *sessions) expire(id string, v *visit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of[id] == v && v.requests == 0 {
		a.end(id)
	}
}

// delete ends a session for its client.
func (a *sessions) delete(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end(id)
}

// end is called with mu held. The stream of the session ends, and what it watches.
func (a *sessions) end(id string) {
	v := a.of[id]
	if v == nil {
		return
	}
	v.idle.Stop()
	delete(a.of, id)
	a.running.Go(func() {
		for one := range a.server.mcp.Sessions() {
			if one.ID() == id {
				a.server.watches.leaveAll(one)
				_ = one.Close() // its client may have gone
			}
		}
	})
}

// close ends all sessions.
func (a *sessions) close() {
	a.mu.Lock()
	a.closed = true
	for id := range a.of {
		a.end(id)
	}
	a.mu.Unlock()
	a.server.Close() // a session waits for its calls
	a.running.Wait()
}

// route serves a request in its session, or without one.
func (h *HTTP) route(s *seat, m head, w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(sessionHeader)
	switch {
	case r.Header.Get("Mcp-Protocol-Version") >= protocolWithListen:
		h.handler.ServeHTTP(w, r)
	case id != "" && s.sessions.enter(id):
		defer s.sessions.leave(id)
		if r.Method == http.MethodDelete {
			s.sessions.delete(id)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		s.sessions.handler.ServeHTTP(w, r)
	case id != "" && (r.Method != http.MethodPost || m.subscribes()):
		http.Error(w, "session not found: begin a new one with initialize", http.StatusNotFound)
	case id == "" && r.Method == http.MethodPost && m.Method == "initialize" && s.sessions.room():
		s.sessions.handler.ServeHTTP(w, r)
	default:
		h.handler.ServeHTTP(w, r)
	}
}
