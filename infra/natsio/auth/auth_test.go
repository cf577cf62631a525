package auth

import (
	"testing"

	"github.com/nats-io/jwt/v2"
)

func TestAccounts(t *testing.T) {
	a, err := Open(Config{Dir: t.TempDir(), ReadRaw: []string{"KV_AGENT_STATE", TaskStream}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.NewPrincipal("alice"); err != nil {
		t.Fatal(err)
	}
	acc, _ := a.Account("alice")
	for _, name := range []string{a.System(), a.Engine(), a.Dev(), acc} {
		if _, err := a.Fetch(name); err != nil {
			t.Error(err)
		}
	}
	// The server writes it into each request of a client without credentials.
	if text, err := a.Anonymous(); err != nil || len(text) > 640 {
		t.Errorf("the JWT of clients without credentials has %d bytes, %v", len(text), err)
	}
}

// The server gets changed claims alone: what it does then interrupts requests.
func TestChanged(t *testing.T) {
	a, err := Open(Config{Dir: t.TempDir(), ReadRaw: []string{"KV_AGENT_STATE", TaskStream}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.NewPrincipal("alice"); err != nil {
		t.Fatal(err)
	}
	account, _ := a.Account("alice")
	changed := func(what string, want bool) (text string) {
		t.Helper()
		jwts, err := a.Changed()
		text, got := jwts[account]
		if err != nil || got != want {
			t.Errorf("%s: changed is %t, %v", what, got, err)
		}
		return text
	}
	if text := changed("new", true); text != "" {
		t.Error("an account that the server does not know is updated")
	}
	first, err := a.Fetch(account)
	again, _ := a.Fetch(account)
	if err != nil || first == "" || first != again {
		t.Errorf("%v: two fetches differ: %t", err, first != again)
	}
	changed("nothing", false)
	if err := a.Apply("alice", nil, []byte(`{"grants":["none"]}`)); err != nil {
		t.Fatal(err)
	}
	changed("its profile", false)
	if err := a.Apply("alice", []string{"agents.>"}, nil); err != nil {
		t.Fatal(err)
	}
	if text := changed("its feeds", true); text == "" || text == first {
		t.Error("the account is not updated")
	}
	if _, err := a.Rotate("alice"); err != nil {
		t.Fatal(err)
	}
	if text := changed("its user", true); text == "" {
		t.Error("the user before is not revoked")
	}
}

// One principal leaves connections to others on a server that has few.
func TestConnectionsAreShared(t *testing.T) {
	for connections, want := range map[int]int64{0: maxConnections, 640: 160, 20: fewConnections, 1 << 20: maxConnections} {
		a, err := Open(Config{Dir: t.TempDir(), Connections: connections})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.NewPrincipal("alice"); err != nil {
			t.Fatal(err)
		}
		account, _ := a.Account("alice")
		text, err := a.Fetch(account)
		if err != nil {
			t.Fatal(err)
		}
		claims, err := jwt.DecodeAccountClaims(text)
		if err != nil || claims.Limits.Conn != want {
			t.Errorf("of %d: %d, want %d, %v", connections, claims.Limits.Conn, want, err)
		}
	}
}

// Every request asks for its caller: no key is derived for it.
func TestCallersCostNothing(t *testing.T) {
	a, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if a.Caller(a.Dev()) == nil {
			t.Fatal("the account of clients without credentials is unknown")
		}
	}); n > 1 {
		t.Errorf("%g allocations", n)
	}
}
