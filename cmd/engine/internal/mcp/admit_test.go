package mcp

import (
	"bytes"
	"encoding/base64"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// Without credentials only programs on this machine are served, not those that a proxy on it
// asks for.
func TestOnThisMachine(t *testing.T) {
	h := NewHTTP(HTTPOptions{})
	for _, c := range []struct {
		from, host, header string
		served             bool
	}{
		{"127.0.0.1:9", "localhost:8080", "", true}, {"[::1]:9", "[::1]:8080", "", true}, {"192.0.2.1:9", "localhost", "", false},
		{"127.0.0.1:9", "engine.example.org", "", false}, {"127.0.0.1:9", "192.0.2.7", "", false},
		{"127.0.0.1:9", "localhost", "Forwarded", false}, {"127.0.0.1:9", "localhost", "X-Forwarded-For", false},
		{"127.0.0.1:9", "localhost", "X-Real-IP", false}, {"127.0.0.1:9", "localhost", "Via", false}, {"127.0.0.1:9", "localhost", "X-Forwarded-Host", false},
	} {
		r := httptest.NewRequest("POST", "/mcp", nil)
		r.RemoteAddr, r.Host = c.from, c.host
		if c.header != "" {
			r.Header.Set(c.header, "192.0.2.1")
		}
		if _, refusal := h.admit(r); (refusal == nil) != c.served || refusal != nil && refusal.status != 403 {
			t.Errorf("%+v: %+v", c, refusal)
		}
	}
}

// The same credentials are the same bytes, however they are written; others are others.
func TestCredentials(t *testing.T) {
	account, err := nkeys.CreateAccount()
	harness.Must(t, err)
	user, err := nkeys.CreateUser()
	harness.Must(t, err)
	key, err := user.PublicKey()
	harness.Must(t, err)
	seed, err := user.Seed()
	harness.Must(t, err)
	token, err := jwt.NewUserClaims(key).Encode(account)
	harness.Must(t, err)
	file, err := jwt.FormatUserConfig(token, seed)
	harness.Must(t, err)
	h := NewHTTP(HTTPOptions{Auth: true})
	admit := func(header string) ([]byte, *turnedAway) {
		r := httptest.NewRequest("POST", "/mcp", nil)
		r.Header.Set("Authorization", header)
		return h.admit(r)
	}
	whole, refusal := admit("Bearer " + base64.StdEncoding.EncodeToString(file))
	if refusal != nil {
		t.Fatal(refusal.why)
	}
	for _, header := range []string{
		"bearer  " + base64.RawURLEncoding.EncodeToString(file),
		"Bearer " + base64.URLEncoding.EncodeToString(append([]byte("\r\n# a comment\n"), bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n"))...)),
	} {
		if got, refusal := admit(header); refusal != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s…: %q, %v", header[:20], got, refusal)
		}
	}
	if got, refusal := admit("Bearer " + base64.StdEncoding.EncodeToString(append(seed, '\n'))); refusal != nil || holderOf(got, Options{}) != holderOf(whole, Options{}) || !bytes.Equal(got, seed) {
		t.Errorf("an NKey seed: %v", refusal)
	}
	// The last character of a signature has bits that no decoder looks at: other bytes are
	// the same principal for the bounds.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	other, err := jwt.FormatUserConfig(token[:len(token)-1]+alphabet[last^1:last^1+1], seed)
	harness.Must(t, err)
	if got, refusal := admit("Bearer " + base64.StdEncoding.EncodeToString(other)); refusal == nil && holderOf(got, Options{}) != holderOf(whole, Options{Agent: "a"}) {
		t.Error("the same credentials with another signature text are another principal for the bounds")
	}
	public, err := account.Seed()
	harness.Must(t, err)
	for _, text := range []string{"", token, "SUAAA", string(public), "-----BEGIN NATS USER JWT-----\nx\n"} {
		if got, refusal := admit("Bearer " + base64.StdEncoding.EncodeToString([]byte(text))); refusal == nil || refusal.status != 401 {
			t.Errorf("%.20q is admitted as %q", text, got)
		}
	}
}
