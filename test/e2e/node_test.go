package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestNode: a client in another language gets along with the wire contract and
// its own NATS library alone.
func TestNode(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	dir := nodeModules(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "first.mjs"), e.NATSURL)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "set and get\nconflict\nrefusal\nwatch\n" {
		t.Errorf("first.mjs: %v\n%s", err, out)
	}
	e.Client(t).CheckAll(t)
}

// nodeModules is a directory with the script and what it imports. What was
// installed is kept from one test run to the next, in the user's cache, under
// the digest of package.json.
func nodeModules(t *testing.T) string {
	t.Helper()
	wanted, err := os.ReadFile("testdata/node/package.json")
	must(t, err)
	script, err := os.ReadFile("testdata/node/first.mjs")
	must(t, err)
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(wanted)
	kept := filepath.Join(cache, "tidemark-test", "node-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(filepath.Join(kept, "node_modules")); err != nil {
		must(t, os.MkdirAll(filepath.Dir(kept), 0o755))
		fresh, err := os.MkdirTemp(filepath.Dir(kept), "install-")
		must(t, err)
		defer os.RemoveAll(fresh)
		must(t, os.WriteFile(filepath.Join(fresh, "package.json"), wanted, 0o644))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		npm := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--prefer-offline")
		npm.Dir = fresh
		if out, err := npm.CombinedOutput(); err != nil {
			t.Fatalf("npm install: %v\n%s", err, out)
		}
		if err := os.Rename(fresh, kept); err != nil { // another test run may have been first
			_, err = os.Stat(filepath.Join(kept, "node_modules"))
			must(t, err)
		}
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "first.mjs"), script, 0o644))
	must(t, os.Symlink(filepath.Join(kept, "node_modules"), filepath.Join(dir, "node_modules")))
	return dir
}
