package console

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/client"
)

const (
	livePause = time.Second      // between two looks for changes
	liveQuiet = 5 * time.Second  // after which a page is made again although nothing is known to have changed
	liveWrite = 10 * time.Second // that one write may take
)

// live reports whether a request is for the stream of a page: the same URL, as EventSource
// asks for it.
func live(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Accept"), "text/event-stream")
}

// stream sends the body of a page whenever it has changed, until the browser or the session
// goes. An answer other than 200 ends an EventSource for good.
func (c *Console) stream(w http.ResponseWriter, r *request, p page) {
	leave, ok := c.sessions.follow(r.s)
	if !ok {
		http.Error(w, "you have too many live pages open", http.StatusServiceUnavailable)
		return
	}
	defer leave()
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		http.Error(w, "too many live pages are open", http.StatusServiceUnavailable)
		return
	}
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // the server's limit is for requests; a failure ends the stream early
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(livePause)
	defer tick.Stop()
	var last []byte
	seen, at := uint64(0), time.Time{}
	for {
		now := c.cfg.Engine.Changes()
		if c.cfg.Auth && !c.sessions.keep(r.s) || r.s.nc.IsClosed() {
			_ = send(out, w, "gone", nil) // the browser learns it with its next request too
			return
		}
		if now != seen || time.Since(at) >= liveQuiet {
			seen, at = now, time.Now()
			r.now = at
			name, body := c.liveBody(r, p)
			switch {
			case name == "":
				w.WriteHeader(http.StatusNoContent) // an EventSource does not come back
				return
			case name == "page" && bytes.Equal(body, last):
				name, body = "ping", nil
			case name == "page":
				last = body
			}
			if send(out, w, name, body) != nil {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-c.closing.Done():
			return
		case <-tick.C:
		}
	}
}

// liveBody is the next event of a live page: its body, or that of the error that it meets now.
// While the engine is only late, the page stays as it is.
func (c *Console) liveBody(r *request, p page) (name string, body []byte) {
	v, err := p(r)
	switch {
	case errors.Is(err, client.ErrUnavailable), errors.Is(err, client.ErrOverloaded):
		return "late", nil
	case err != nil:
		v = failed(err)
	case !v.live:
		return "", nil
	}
	var b bytes.Buffer
	if err := v.body.Render(r.Context(), &b); err != nil {
		return "late", nil // the browser has gone
	}
	return "page", b.Bytes()
}

// send writes one event of the stream.
func send(out *http.ResponseController, w http.ResponseWriter, name string, body []byte) error {
	if err := out.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\n", name)
	for line := range bytes.SplitSeq(bytes.ReplaceAll(body, []byte("\r"), []byte("&#13;")), []byte("\n")) { // a bare CR would end a line
		b.WriteString("data: ")
		b.Write(line)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	if _, err := b.WriteTo(w); err != nil {
		return err
	}
	return out.Flush()
}
