package deployment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

func demoPath(data string) string { return filepath.Join(data, "made-by-demo") }

// MarkDemo notes that the demo has made the data directory.
func MarkDemo(data string) error {
	if err := os.WriteFile(demoPath(data), []byte("engine demo --clean removes this directory.\n"), 0o600); err != nil {
		return fmt.Errorf("note that the demo has made %s: %w", data, err)
	}
	return nil
}

// MadeByDemo reports whether the demo has made the data directory, and nothing else has used
// it since.
func MadeByDemo(data string) bool {
	info, err := os.Lstat(demoPath(data))
	return err == nil && info.Mode().IsRegular()
}

// KeepData makes the data directory one that the demo does not remove.
func KeepData(data string) error {
	if err := os.Remove(demoPath(data)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep %s from the demo: %w", data, err)
	}
	return nil
}
