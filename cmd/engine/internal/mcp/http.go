package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/nats-io/nats.go"
)

// HTTPOptions of a server of the protocol over HTTP.
type HTTPOptions struct {
	// Dial connects with credentials (a credentials file, or an NKey seed), or as development
	// mode lets clients connect if they are nil. It calls closed when the connection has ended; it is not made again. Its
	// error is a nats.ErrAuthorization where the server refuses the credentials.
	Dial    func(credentials []byte, closed func()) (*nats.Conn, error)
	Auth    bool   // only requests with credentials are served
	Prefix  string // of the engine's subjects
	Version string // of the program
	MaxBody int64  // bytes of a request
}

// HTTP serves the protocol over streamable HTTP: each request is complete in itself, and any
// engine may answer it, but for subscriptions of older clients, which have sessions. A request
// acts over the NATS connection of the principal whose credentials it carries, so that grants
// hold as for any other client.
type HTTP struct {
	o       HTTPOptions
	handler http.Handler
	pool    pool
}

// Bounds of HTTP. They leave some of the engine's connections to others, such as probes.
const (
	maxRequests = 96 // at once, of all
	maxOfOne    = 48 // at once, of one principal
	maxStreams  = 24 // at once, of one principal; a part of maxOfOne

	bodyTimeout  = 30 * time.Second
	writeTimeout = 30 * time.Second // of one write; a stream may last longer
)

// NewHTTP makes a handler. Close ends its streams and connections.
func NewHTTP(o HTTPOptions) *HTTP {
	h := &HTTP{o: o}
	h.pool.open = h.open
	h.handler = mcp.NewStreamableHTTPHandler(func(r *http.Request) *mcp.Server {
		s := r.Context().Value(seatKey{}).(*seat)
		if r.Header.Get("Mcp-Protocol-Version") >= protocolWithListen {
			return s.server.mcp
		}
		return s.older.mcp
	}, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, PropagateRequestCancellation: true,
		MaxRequestBodyBytes: o.MaxBody, DisableLocalhostProtection: true, // admit has checked it
	})
	return h
}

// protocolWithListen is the first version of the protocol in which a request can
// subscribe: earlier ones have sessions for that.
const protocolWithListen = "2026-07-28"

// Close ends all streams and connections; later requests are refused.
func (h *HTTP) Close() { h.pool.close() }

type seatKey struct{}

// ServeHTTP implements http.Handler.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	credentials, refusal := h.admit(r)
	if refusal != nil {
		refusal.write(w)
		return
	}
	options, err := confinement(r.URL)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(bodyTimeout)) // fails in tests alone, where there is no connection
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.o.MaxBody))
	if err != nil {
		unread(w, err)
		return
	}
	_ = connection.SetReadDeadline(time.Time{}) // it would end a request that waits
	message := peek(body)
	options.Version = h.o.Version
	stream := message.streams() || r.Method == http.MethodGet && r.Header.Get(sessionHeader) != ""
	s, err := h.pool.take(r.Context(), credentials, options, stream)
	switch {
	case errors.Is(err, errBusy):
		message.busy(w)
		return
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		unauthorized("the engine does not accept these credentials").write(w)
		return
	case err != nil:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "no connection to the engine's NATS server: try again", http.StatusServiceUnavailable)
		return
	}
	defer h.pool.give(s, stream)
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), seatKey{}, s))
	defer cancel()
	defer context.AfterFunc(s.ended, cancel)()
	r = r.WithContext(ctx)
	r.Body = newBody(body)
	h.route(s, message, &patientWriter{w, connection}, r)
}

// confinement reads the parameters agent and read_only. A parameter that is not known is
// refused: it might be one of these with a mistake in its name.
func confinement(u *url.URL) (o Options, err error) {
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return o, errors.New("the parameters of the URL are not readable")
	}
	for name, all := range values {
		switch {
		case len(all) == 1 && name == "agent" && all[0] != "" && len(all[0]) <= maxAgent:
			o.Agent = all[0]
		case len(all) == 1 && name == "read_only":
			if o.ReadOnly, err = strconv.ParseBool(all[0]); err != nil {
				return o, errors.New("read_only must be 1 or 0")
			}
		default:
			return o, fmt.Errorf("parameter %.64q of the URL is unknown, repeated or not valid; known are agent and read_only", name)
		}
	}
	return o, nil
}

const maxAgent = 256

// unread answers a request whose body cannot be read.
func unread(w http.ResponseWriter, err error) {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		http.Error(w, fmt.Sprintf("the body has more than %d bytes", large.Limit), http.StatusRequestEntityTooLarge)
		return
	}
	http.Error(w, "the body is not readable", http.StatusBadRequest)
}

// head is what a request is about.
type head struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
}

// peek reads it; of what is no request it is empty.
func peek(body []byte) (m head) {
	if json.Unmarshal(body, &m) != nil {
		return head{}
	}
	return m
}

func (m head) streams() bool { return m.Method == "subscriptions/listen" }

func (m head) subscribes() bool {
	return m.Method == "resources/subscribe" || m.Method == "resources/unsubscribe"
}

// busy refuses a request beyond the bounds: a call with a result, on which a model can act.
func (m head) busy(w http.ResponseWriter) {
	answer := map[string]any{"jsonrpc": "2.0", "id": m.ID}
	if m.ID == nil {
		answer["id"] = nil
	}
	if m.Method == "tools/call" && m.ID != nil {
		answer["result"] = refused(busy(), nil)
	} else {
		w.Header().Set("Retry-After", "1")
		answer["error"] = map[string]any{"code": -32000, "message": busy().Error()}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if answer["error"] != nil {
		w.WriteHeader(http.StatusTooManyRequests)
	}
	_, _ = w.Write(text) // a client that has gone needs no answer
}

// patientWriter gives each write its time, instead of the whole answer.
type patientWriter struct {
	http.ResponseWriter
	connection *http.ResponseController
}

// Write implements http.ResponseWriter.
func (w *patientWriter) Write(b []byte) (int, error) {
	_ = w.connection.SetWriteDeadline(time.Now().Add(writeTimeout)) // as SetReadDeadline
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
