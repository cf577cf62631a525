package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestAuthOnAStoppedEngine works on a data directory without an engine.
func TestAuthOnAStoppedEngine(t *testing.T) {
	data, dir := filepath.Join(t.TempDir(), "data"), t.TempDir()
	creds := filepath.Join(dir, "alice.creds")
	do := func(want int, says string, args ...string) string {
		t.Helper()
		code, stdout, stderr := engine(t, append([]string{"auth"}, append(args, "--data", data, "--json")...)...)
		if code != want || !strings.Contains(stdout+stderr, says) {
			t.Errorf("auth %q: exit code %d, want %d and %q\n%s%s", args, code, want, says, stdout, stderr)
		}
		return stdout
	}
	do(0, "operator.creds", "init")
	do(0, creds, "add", "alice", "--role", "agent", "--out", creds)
	info, err := os.Stat(creds)
	harness.Must(t, err)
	first, err := os.ReadFile(creds)
	harness.Must(t, err)
	if info.Mode().Perm() != 0o600 || !strings.Contains(string(first), "BEGIN NATS USER JWT") || !strings.Contains(string(first), "USER NKEY SEED") {
		t.Errorf("%s: %q", info.Mode(), first)
	}
	do(2, "never overwritten", "rotate", "alice", "--out", creds)
	do(1, "exists", "add", "alice", "--role", "admin", "--out", filepath.Join(dir, "second.creds"))
	do(1, "no such principal", "rotate", "bob", "--out", filepath.Join(dir, "second.creds"))
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v: a failure leaves a file", files, err)
	}
	do(0, "second.creds", "rotate", "alice", "--out", filepath.Join(dir, "second.creds"))
	do(0, "query agent:team.*", "grant", "alice", "query agent:team.*")
	var p struct {
		Name, Role, Agents string
		Grants, Effective  []string
		Revoked            bool
	}
	harness.Must(t, json.Unmarshal([]byte(do(0, "alice", "list")), &p))
	if p.Name != "alice" || p.Role != "agent" || p.Agents != "alice" || len(p.Grants) != 1 || len(p.Effective) < 5 || p.Revoked {
		t.Errorf("%+v", p)
	}
	do(0, `"revoked":true`, "revoke", "alice")
	do(1, "no such principal", "grant", "alice", "admin *")
	log := do(0, "principal.revoked", "log")
	if n := strings.Count(log, "\n"); n != 4 || strings.Count(log, `"actor":"operator"`) != 4 {
		t.Errorf("%d lines:\n%s", n, log)
	}
}

// TestAuthInterrupted repeats subcommands that were killed between the principals and their
// keys.
func TestAuthInterrupted(t *testing.T) {
	data, dir := filepath.Join(t.TempDir(), "data"), t.TempDir()
	do := func(want int, says string, args ...string) {
		t.Helper()
		code, stdout, stderr := engine(t, append([]string{"auth"}, append(args, "--data", data, "--json")...)...)
		if code != want || !strings.Contains(stdout+stderr, says) {
			t.Errorf("auth %q: exit code %d, want %d and %q\n%s%s", args, code, want, says, stdout, stderr)
		}
	}
	creds, keys := filepath.Join(dir, "alice.creds"), filepath.Join(embedded.KeysDir(data), "principals", "alice.json")
	do(0, "operator.creds", "init")
	do(0, creds, "add", "alice", "--role", "reader", "--out", creds)
	do(1, "engine auth rotate alice", "add", "alice", "--role", "reader", "--out", creds+"-2")

	harness.Must(t, os.Remove(keys))
	do(0, creds+"-2", "rotate", "alice", "--out", creds+"-2")
	text, err := os.ReadFile(keys)
	if err != nil || !strings.Contains(string(text), `"agents.`) {
		t.Errorf("%v: the keys after an interrupted add and a rotate: \n%s", err, text)
	}

	do(0, `"revoked":true`, "revoke", "alice")
	harness.Must(t, os.WriteFile(keys, text, 0o600))
	do(0, `"revoked":true`, "revoke", "alice")
	if text, err = os.ReadFile(keys); err != nil || !strings.Contains(string(text), `"gone": true`) || strings.Contains(string(text), `"user"`) {
		t.Errorf("%v: the keys after an interrupted revoke and another:\n%s", err, text)
	}
	do(1, "no such principal", "revoke", "bob")
}
