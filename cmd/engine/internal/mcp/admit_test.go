package mcp

import (
	"bytes"
	"encoding/base64"
	"net/http/httptest"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/test/harness"
)

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
	if got, refusal := admit("Bearer " + base64.StdEncoding.EncodeToString(append(seed, '\n'))); refusal != nil || !bytes.Equal(got, seed) {
		t.Errorf("an NKey seed: %v", refusal)
	}
	public, err := account.Seed()
	harness.Must(t, err)
	for _, text := range []string{"", token, "SUAAA", string(public), "-----BEGIN NATS USER JWT-----\nx\n"} {
		if got, refusal := admit("Bearer " + base64.StdEncoding.EncodeToString([]byte(text))); refusal == nil || refusal.status != 401 {
			t.Errorf("%.20q is admitted as %q", text, got)
		}
	}
}
