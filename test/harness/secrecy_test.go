package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// said counts what a check reports.
type said struct {
	testing.TB
	errors int
}

func (s *said) Helper()               {}
func (s *said) Error(...any)          { s.errors++ }
func (s *said) Errorf(string, ...any) { s.errors++ }

// Each kind of secret is found in an engine's log, and nothing else.
func TestSecretsAreFound(t *testing.T) {
	data, seed := t.TempDir(), "SUA"+strings.Repeat("B", 55)
	Must(t, os.Mkdir(filepath.Join(data, "postgres"), 0o700))
	Must(t, os.WriteFile(filepath.Join(data, "postgres", "password"), []byte("of the-managed-one\n"), 0o600))
	Must(t, os.WriteFile(filepath.Join(data, "master.key"), []byte(strings.Repeat("a7", 32)+"\n"), 0o600))
	e := &Engine{Data: data, cfg: Config{
		SQL: "postgres://app:of-the-database@127.0.0.1/x", Args: []string{"--nats", "nats://u:of-the-server@h"},
		Env: []string{"TIDEMARK_NATS_PASSWORD=of-the-environment", "TIDEMARK_LOG=nothing-secret"},
	}}
	for text, secret := range map[string]bool{
		"x " + seed + " y": true, "nats://u:pass@h": true, "nats://token@h": true, "tls://a,nats://u:xxxxx@h": false, "nats://xxxxx@h": false,
		"postgres://tidemark@h/x": false, "postgres://u:p@h/x": true, "the-managed-one": true, "of-the-database": true, "of-the-server": true,
		"of-the-environment": true, "nothing-secret": false, strings.Repeat("a7", 32): true,
		strings.Repeat("p6en", 10) + "p6c=": true, "eyJ0eXAiOiJKV1QiLCJh.eyJqdGkiOiJYWFhYWFgi.c2ln": true, "a1@example.org": false,
	} {
		s := &said{TB: t}
		e.t = s
		e.checkSecrets("a line\n" + text + "\n")
		if s.errors > 0 != secret {
			t.Errorf("%q: %d secrets are found", text, s.errors)
		}
	}
}
