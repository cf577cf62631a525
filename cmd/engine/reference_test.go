package main

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/reference"
	"github.com/tidemark-engine/tidemark/test/harness"
)

var update = flag.Bool("update", false, "write docs/reference again (make reference)")

// TestReference: docs/reference is what the declarations and flags say. With -update it
// writes the files.
func TestReference(t *testing.T) {
	var tab table
	k, err := parser(&tab, "engine")
	harness.Must(t, err)
	files, err := reference.Files(k.Model)
	harness.Must(t, err)
	dir := filepath.Join("..", "..", "docs", "reference")
	if *update {
		harness.Must(t, os.RemoveAll(filepath.Join(dir, "schemas")))
		harness.Must(t, os.MkdirAll(filepath.Join(dir, "schemas"), 0o755))
	}
	for name, want := range files {
		path := filepath.Join(dir, name)
		if *update {
			harness.Must(t, os.WriteFile(path, want, 0o644))
		} else if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/reference/%s is not what the code says (%v): run make reference", name, err)
		}
	}
	harness.Must(t, filepath.WalkDir(filepath.Join(dir, "schemas"), func(path string, d fs.DirEntry, err error) error {
		if name, _ := strings.CutPrefix(filepath.ToSlash(path), filepath.ToSlash(dir)+"/"); err == nil && !d.IsDir() && files[name] == nil {
			t.Errorf("docs/reference/%s belongs to nothing: run make reference", name)
		}
		return err
	}))
}

// TestConfigurationPage: the page that explains the flags of serve names each, and no other.
func TestConfigurationPage(t *testing.T) {
	var tab table
	k, err := parser(&tab, "engine")
	harness.Must(t, err)
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "configuration.md"))
	harness.Must(t, err)
	flags := map[string]bool{}
	for _, leaf := range k.Model.Leaves(true) {
		for _, group := range leaf.AllFlags(true) {
			for _, f := range group {
				flags["--"+f.Name] = true
				if leaf.Name == "serve" && f.Name != "help" && f.Name != "version" && f.Name != "no-color" && !bytes.Contains(text, []byte("`--"+f.Name+"`")) {
					t.Errorf("configuration.md does not name --%s", f.Name)
				}
			}
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`--.*?) \\|").FindAllStringSubmatch(string(text), -1) {
		for _, name := range regexp.MustCompile("--[a-z-]+").FindAllString(row[1], -1) {
			if !flags[name] {
				t.Errorf("configuration.md names %s, which is no flag", name)
			}
		}
	}
}
