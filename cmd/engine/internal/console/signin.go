package console

import (
	"bytes"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tidemark-engine/tidemark/client"
)

const maxCredentials = 16 << 10 // bytes of a credentials file

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	if !c.cfg.Auth {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	c.showSignIn(w, r, http.StatusOK, "")
}

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request, status int, problem string) {
	var b bytes.Buffer
	if err := signInForm(c.token(cookieOf(w, r)), local(r.FormValue("to")), problem).Render(r.Context(), &b); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	c.write(w, status, &b)
}

// local is a path of this console; anything else is its first page.
func local(path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return "/"
	}
	return path
}

// signIn opens the connection of a principal. The credentials are in memory only, and only in
// that connection.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 2*maxCredentials)
	credentials := r.PostFormValue("credentials")
	switch {
	case !c.cfg.Auth:
		c.refuse(w, r, http.StatusNotFound, "This engine runs without --auth: there is no sign-in.")
	case c.forged(r):
		c.showSignIn(w, r, http.StatusForbidden, "The form was too old. Please try again.")
	case !c.failures.may(r):
		w.Header().Set("Retry-After", "10")
		c.showSignIn(w, r, http.StatusTooManyRequests, "Too many attempts have failed. Please wait some seconds.")
	case len(credentials) > maxCredentials || strings.TrimSpace(credentials) == "":
		c.showSignIn(w, r, http.StatusBadRequest, "Paste the text of a credentials file.")
	default:
		c.admit(w, r, credentials)
	}
}

func (c *Console) admit(w http.ResponseWriter, r *http.Request, credentials string) {
	s, err := c.sessions.open(credentials)
	if errors.Is(err, ErrStarting) {
		c.away(w, r, err)
		return
	}
	if err == nil {
		// The server admits it; the engine says that it answers it.
		var status struct{}
		err = s.client.Query(r.Context(), "engine.status", nil, &status)
		if errors.Is(err, client.ErrForbidden) {
			err = nil // it may do other things
		}
		if err != nil {
			s.nc.Close()
		}
	}
	if err != nil {
		c.failures.add(r)
		c.cfg.Log.Warn("console: a sign-in has failed", "from", r.RemoteAddr)
		c.showSignIn(w, r, http.StatusForbidden, "The engine does not accept these credentials.")
		return
	}
	c.failures.forget(r)
	c.cfg.Log.Info("console: signed in", "principal", s.Principal, "from", r.RemoteAddr)
	setCookie(w, r, c.sessions.add(s)) // a new one: who knew the cookie before does not know it
	http.Redirect(w, r, local(r.PostFormValue("to")), http.StatusSeeOther)
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	if c.forged(r) {
		c.refuse(w, r, http.StatusForbidden, "The form was too old. Go back, load the page again and try once more.")
		return
	}
	if cookie, err := r.Cookie(cookieName(r)); err == nil {
		c.sessions.remove(cookie.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Path: "/", MaxAge: -1, HttpOnly: true, Secure: secureCookie(r), SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
}

// failures limits how often sign-ins may fail, by address and over all.
type failures struct {
	mu  sync.Mutex
	all *rate.Limiter
	of  map[netip.Prefix]*rate.Limiter
}

const (
	signInBurst = 5                // failures of one address in a row
	signInPause = 10 * time.Second // after which it may fail once more
	maxFailures = 4096             // addresses that are remembered
)

func newFailures() *failures {
	return &failures{all: rate.NewLimiter(20, 100), of: map[netip.Prefix]*rate.Limiter{}}
}

// may reports whether the sender of a request may try.
func (f *failures) may(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.of[network(r)]
	return f.all.Tokens() >= 1 && (one == nil || one.Tokens() >= 1)
}

func (f *failures) add(r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := network(r)
	if f.of[from] == nil {
		if len(f.of) >= maxFailures {
			clear(f.of)
		}
		f.of[from] = rate.NewLimiter(rate.Every(signInPause), signInBurst)
	}
	f.of[from].Allow()
	f.all.Allow()
}

func (f *failures) forget(r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.of, network(r))
}

// network is the address of a sender, of IPv6 the part that one sender has.
func network(r *http.Request) netip.Prefix {
	from, _ := netip.ParseAddrPort(r.RemoteAddr) // the zero value: all that have none count as one
	addr, bits := from.Addr().Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}
