package console

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/tidemark-engine/tidemark/client"
	"github.com/tidemark-engine/tidemark/internal/origin"
)

// request is a request of a session.
type request struct {
	*http.Request
	c    *Console
	s    *session
	csrf string
	now  time.Time
}

// view is what a page shows.
type view struct {
	title  string
	nav    string          // path of the entry of the navigation
	body   templ.Component // what main holds
	live   bool            // the page follows the engine
	status int             // 0 = 200
}

// page makes a view of a request. It changes nothing.
type page func(*request) (view, error)

// ask asks a query; the error is a *client.Error where the engine has answered.
func (r *request) ask(subject string, body map[string]any, answer any) error {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	return r.s.client.Query(ctx, subject, body, answer)
}

// query is a parameter of the URL.
func (r *request) query(name string) string { return r.URL.Query().Get(name) }

// number is a parameter that is a number; 0 = it is not there, or is none.
func (r *request) number(name string) uint64 {
	n, _ := strconv.ParseUint(r.query(name), 10, 64) // 0
	return n
}

// with is the URL of this page with other parameters: names and values in turn, an empty
// value removes its name.
func (r *request) with(pairs ...string) templ.SafeURL {
	q := r.URL.Query()
	for i := 0; i+1 < len(pairs); i += 2 {
		if q.Del(pairs[i]); pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return pathTo(r.URL.EscapedPath(), q)
}

func pathTo(path string, q url.Values) templ.SafeURL {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return templ.SafeURL(path)
}

// to is a path with escaped segments and parameters: to("/agents", id).
func to(base string, segments ...string) templ.SafeURL {
	for _, s := range segments {
		base += "/" + url.PathEscape(s)
	}
	return templ.SafeURL(base)
}

// enter finds the session of a request, or answers it.
func (c *Console) enter(w http.ResponseWriter, r *http.Request) (*request, bool) {
	req := &request{Request: r, c: c, now: time.Now()}
	if !c.cfg.Auth && !origin.Here(r) {
		c.refuse(w, r, http.StatusForbidden, "This console is for programs on the engine's own machine. Start the engine with --auth on, and with TLS, to sign in from elsewhere.")
		return nil, false
	}
	if c.cfg.Auth {
		cookie, err := r.Cookie(cookieName(r))
		if err == nil {
			req.s = c.sessions.find(cookie.Value)
		}
		if req.s == nil {
			if live(r) {
				http.Error(w, "the session has ended", http.StatusUnauthorized)
			} else {
				http.Redirect(w, r, "/signin?"+url.Values{"to": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
			}
			return nil, false
		}
		req.csrf = c.token(cookie.Value)
		return req, true
	}
	s, err := c.sessions.development()
	if err != nil {
		c.away(w, r, err)
		return nil, false
	}
	req.s, req.csrf = s, c.token(cookieOf(w, r))
	return req, true
}

// serve answers a page, or the stream of it.
func (c *Console) serve(p page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, ok := c.enter(w, r)
		switch {
		case !ok:
		case live(r):
			c.stream(w, req, p)
		default:
			v, err := p(req)
			if err != nil {
				v = failed(err)
			}
			c.render(w, req, v)
		}
	})
}

// failed is the page of an error.
func failed(err error) view {
	v := view{title: "That did not work", body: failure(err), status: http.StatusInternalServerError}
	var e *client.Error
	if errors.As(err, &e) && e.Status >= 400 && e.Status < 600 {
		v.status = e.Status
	}
	if v.status == http.StatusNotFound {
		v.title = "Not found"
	}
	return v
}

// render writes a page.
func (c *Console) render(w http.ResponseWriter, r *request, v view) {
	var b bytes.Buffer
	if err := layout(r, v).Render(r.Context(), &b); err != nil {
		c.cfg.Log.Debug("console: a page is not rendered", "path", r.URL.Path, "error", err)
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	c.write(w, v.status, &b)
}

func (c *Console) write(w http.ResponseWriter, status int, b *bytes.Buffer) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if status != 0 {
		w.WriteHeader(status)
	}
	_, _ = b.WriteTo(w) // the browser may have gone
}

// refuse answers without a session.
func (c *Console) refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	c.refuseWith(w, r, status, text, message(text, ""))
}

func (c *Console) refuseWith(w http.ResponseWriter, r *http.Request, status int, text string, body templ.Component) {
	var b bytes.Buffer
	if err := bare(http.StatusText(status), body).Render(r.Context(), &b); err != nil {
		http.Error(w, text, status)
		return
	}
	c.write(w, status, &b)
}

// away answers while the engine has no server to ask.
func (c *Console) away(w http.ResponseWriter, r *http.Request, err error) {
	text := "The engine has no connection to its NATS server. This page is tried again. "
	if errors.Is(err, ErrStarting) {
		text = "The engine starts. "
	}
	text += strings.Join(c.cfg.Engine.Health().Reasons, "; ") // as /readyz says it: without addresses
	w.Header().Set("Refresh", "2")
	c.refuse(w, r, http.StatusServiceUnavailable, text)
}
