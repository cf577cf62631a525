package auth

import "testing"

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
	if _, err := a.Anonymous(); err != nil {
		t.Error(err)
	}
}
