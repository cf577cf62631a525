package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"

	"github.com/tidemark-engine/tidemark/internal/origin"
)

// secret is 256 random bits as text.
func secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// cookieName has the port, because browsers share cookies among the ports of a host: two
// engines on one machine would sign each other's people out.
func cookieName(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = "0"
	}
	if secureCookie(r) {
		return "__Host-tidemark-" + port
	}
	return "tidemark-" + port
}

// secureCookie reports whether a browser may send the cookie over TLS alone. It must for
// other machines: there a proxy has the TLS, or no sign-in works.
func secureCookie(r *http.Request) bool { return r.TLS != nil || !origin.Here(r) }

// cookieOf is the browser's cookie; it gives one to a browser without.
func cookieOf(w http.ResponseWriter, r *http.Request) string {
	if c, err := r.Cookie(cookieName(r)); err == nil && len(c.Value) == len(secret()) {
		return c.Value
	}
	value := secret()
	setCookie(w, r, value)
	return value
}

func setCookie(w http.ResponseWriter, r *http.Request, value string) {
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: value, Path: "/", HttpOnly: true, Secure: secureCookie(r), SameSite: http.SameSiteStrictMode})
}

// token is what a form of the cookie's browser must carry: a page of another site knows
// neither. It ends with the session.
func (c *Console) token(cookie string) string {
	mac := hmac.New(sha256.New, c.key[:])
	mac.Write([]byte(cookie))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// forged reports whether a POST does not come from a form of the same browser session.
func (c *Console) forged(r *http.Request) bool {
	cookie, err := r.Cookie(cookieName(r))
	return err != nil || !hmac.Equal([]byte(r.PostFormValue("csrf")), []byte(c.token(cookie.Value)))
}
