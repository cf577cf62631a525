package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// NodeModules returns a directory with the script from dir and the dependencies
// that the package.json beside it names. The installed dependencies stay in the
// user's cache between test runs, under the digest of package.json.
func NodeModules(t testing.TB, dir, script string) string {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(dir, "package.json"))
	Must(t, err)
	text, err := os.ReadFile(filepath.Join(dir, script))
	Must(t, err)
	kept := installed(t, manifest)
	run := t.TempDir()
	Must(t, os.WriteFile(filepath.Join(run, script), text, 0o644))
	Must(t, os.Symlink(filepath.Join(kept, "node_modules"), filepath.Join(run, "node_modules")))
	return run
}

// installed returns the directory with the dependencies that a package.json names.
func installed(t testing.TB, manifest []byte) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(manifest)
	kept := filepath.Join(cache, "tidemark-test", "node-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(filepath.Join(kept, "node_modules")); err != nil {
		npmInstall(t, kept, manifest)
	}
	return kept
}

func npmInstall(t testing.TB, to string, manifest []byte) {
	t.Helper()
	Must(t, os.MkdirAll(filepath.Dir(to), 0o755))
	fresh, err := os.MkdirTemp(filepath.Dir(to), "install-")
	Must(t, err)
	defer os.RemoveAll(fresh)
	Must(t, os.WriteFile(filepath.Join(fresh, "package.json"), manifest, 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--prefer-offline")
	npm.Dir = fresh
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	if err := os.Rename(fresh, to); err != nil { // another test run may have been first
		_, err = os.Stat(filepath.Join(to, "node_modules"))
		Must(t, err)
	}
}

// NodePackage returns a copy of the Node package in dir with its dependencies installed,
// but without some; links, by name, are directories.
func NodePackage(t testing.TB, dir string, links map[string]string, without ...string) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "package")
	Must(t, os.CopyFS(copied, os.DirFS(dir)))
	for _, made := range []string{"node_modules", "dist"} { // by a developer
		Must(t, os.RemoveAll(filepath.Join(copied, made)))
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "package.json"))
	Must(t, err)
	for _, name := range append(slices.Collect(maps.Keys(links)), without...) {
		manifest = regexp.MustCompile(`\n *"`+regexp.QuoteMeta(name)+`": "[^"]*",?`).ReplaceAll(manifest, nil)
	}
	manifest = regexp.MustCompile(`,(\s*})`).ReplaceAll(manifest, []byte("$1")) // after the last one
	kept := filepath.Join(installed(t, manifest), "node_modules")
	all, err := os.ReadDir(kept)
	Must(t, err)
	modules := filepath.Join(copied, "node_modules")
	Must(t, os.Mkdir(modules, 0o755))
	for _, one := range all {
		Must(t, os.Symlink(filepath.Join(kept, one.Name()), filepath.Join(modules, one.Name())))
	}
	for name, to := range links { // of a scope of its own
		Must(t, os.MkdirAll(filepath.Dir(filepath.Join(modules, name)), 0o755))
		Must(t, os.Symlink(to, filepath.Join(modules, name)))
	}
	return copied
}
