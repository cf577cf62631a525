package files_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tidemark-engine/tidemark/internal/files"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("open to all"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := files.Replace(path, []byte("private")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || string(text) != "private" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, mode %v, %v %v", text, info.Mode(), err, statErr)
	}
	if err := files.Replace(filepath.Join(path, "below a file"), nil); err == nil {
		t.Error("a file below a file was written")
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := files.Replace(filepath.Join(dir, "d"), nil); err == nil {
		t.Error("a directory was replaced")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("a failure leaves %v (%v)", left, err)
	}
}
