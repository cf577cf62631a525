package mcp

import (
	"bytes"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/tidemark-engine/tidemark/client"
	"github.com/tidemark-engine/tidemark/internal/origin"
)

// turnedAway says why a request is not served.
type turnedAway struct {
	status int
	why    string
	header string // WWW-Authenticate; "" = none
}

func (t *turnedAway) write(w http.ResponseWriter) {
	if t.header != "" {
		w.Header().Set("WWW-Authenticate", t.header)
	}
	http.Error(w, t.why, t.status)
}

// unauthorized refuses credentials; RFC 6750, section 3.
func unauthorized(why string) *turnedAway {
	return &turnedAway{http.StatusUnauthorized, why, `Bearer realm="tidemark", error="invalid_token"`}
}

// admit reads the credentials of a request; nil = it has none, and needs none.
func (h *HTTP) admit(r *http.Request) ([]byte, *turnedAway) {
	if !h.o.Auth && !local(r) {
		return nil, &turnedAway{status: http.StatusForbidden, why: "without --auth on, /mcp serves clients of this machine alone"}
	}
	given := r.Header.Values("Authorization")
	if len(given) == 0 {
		if h.o.Auth {
			return nil, &turnedAway{http.StatusUnauthorized, "Authorization: Bearer BASE64 is missing, the credentials file of a principal in base64", `Bearer realm="tidemark"`}
		}
		return nil, nil
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return nil, unauthorized("the credentials are not one Bearer token")
	}
	text, err := decode(strings.TrimSpace(token))
	if err != nil {
		return nil, unauthorized("the token is not base64")
	}
	return canonical(text)
}

// decode reads base64 of both alphabets, with and without padding.
func decode(token string) ([]byte, error) {
	token = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(token, "="))
	return base64.RawStdEncoding.DecodeString(token)
}

// canonical is a credentials file, or one with an NKey seed, in the form in which the same
// credentials are the same bytes. Both have a seed: who knows the JWT of a principal alone
// is not that principal.
func canonical(text []byte) ([]byte, *turnedAway) {
	key, err := jwt.ParseDecoratedUserNKey(text)
	if err != nil {
		return nil, unauthorized("the token holds no credentials file")
	}
	defer key.Wipe()
	seed, err := key.Seed()
	if err == nil && bytes.Contains(text, []byte("BEGIN NATS USER JWT")) {
		var token string
		if token, err = jwt.ParseDecoratedJWT(text); err == nil {
			seed, err = jwt.FormatUserConfig(token, seed)
		}
	}
	if err != nil {
		return nil, unauthorized("the token holds no credentials of a user")
	}
	return bytes.Clone(bytes.TrimSpace(seed)), nil // Wipe clears the key's own
}

// local reports whether a request comes from this machine and not over a proxy, and its
// host is this machine's: a name that another site makes to lead here is not (DNS
// rebinding).
func local(r *http.Request) bool {
	if !origin.Here(r) {
		return false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// newBody is a body that has been read.
func newBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

// busy is the refusal of a call beyond the bounds.
func busy() error {
	return &client.Error{Kind: "overloaded", Code: "mcp.overloaded", Status: 429, Message: "too many requests at once: try again in a moment"}
}
