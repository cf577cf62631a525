package harness

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"testing"
)

// secretKey is the seed of an NKey, which no program may print.
var secretKey = regexp.MustCompile(`\bS[AOUC][A-Z2-7]{56}\b|BEGIN USER NKEY SEED`)

// noSecret fails the test if what a program printed has a secret key.
func noSecret(t testing.TB, where, text string) {
	t.Helper()
	if secretKey.MatchString(text) {
		t.Errorf("%s shows a secret key", where)
	}
}

// PrivateFiles checks the modes below a data directory: other users read nothing.
// Directories may be passed through where another user runs postgres.
func PrivateFiles(t testing.TB, data string) {
	t.Helper()
	real, err := filepath.EvalSymlinks(data)
	Must(t, err)
	files := 0
	err = filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // removed meanwhile
		}
		info, err := d.Info()
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return nil
		}
		mode, may := info.Mode().Perm(), fs.FileMode(0o600)
		if d.IsDir() {
			may = 0o711
		}
		if files++; mode&^may != 0 {
			t.Errorf("%s has mode %o, at most %o is right", path, mode, may)
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Errorf("look at %d files below %s: %v", files, real, err)
	}
}
