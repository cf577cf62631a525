package console

import (
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// TestUserOf: the account of a session is read from what the connection sends to the server, and
// from nothing else in the text.
func TestUserOf(t *testing.T) {
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	claims := jwt.NewUserClaims(public)
	claims.Name = "alice"
	token, err := claims.Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	issuer, _ := account.PublicKey()
	if got := userOf(string(creds)); got == nil || got.Name != "alice" || got.Issuer != issuer {
		t.Errorf("the credentials are of %+v", got)
	}
	// Such a text logs in by its seed alone: no server checks the token in it.
	for what, text := range map[string]string{
		"a seed": string(seed), "another heading": strings.ReplaceAll(string(creds), "NATS USER JWT", "NOTE"), "none": token,
	} {
		if got := userOf(text); got != nil {
			t.Errorf("%s: read as %s of %s", what, got.Name, got.Issuer)
		}
	}
}
