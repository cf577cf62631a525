package cli

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestKilledAddLeavesNoFile looks for the credentials file while it is made.
func TestKilledAddLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "alice.creds")
	no := errors.New("no")
	for _, fails := range []error{no, nil} {
		err := issue(path, func() ([]byte, error) {
			if _, err := os.Lstat(path); err == nil {
				t.Error("the file is there before the credentials")
			}
			return []byte("secret"), fails
		})
		if !errors.Is(err, fails) {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || string(text) != "secret" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, mode %v, %v %v", text, info.Mode(), err, statErr)
	}
	called := false
	if err := issue(path, func() ([]byte, error) { called = true; return nil, nil }); ExitCode(err) != ExitUsage || called {
		t.Errorf("over a file: %v, called %t", err, called)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v: other files are left", files, err)
	}
}
