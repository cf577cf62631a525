// Package files replaces files so that a power failure leaves the old content or the
// new one.
package files

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// Replace writes a file that only its owner may read, in one step. When it returns,
// the new content survives a power failure.
func Replace(path string, body []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(body)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return Sync(filepath.Dir(path))
}

// ReplaceJSON is Replace with a value as indented JSON.
func ReplaceJSON(path string, v any) error {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return Replace(path, append(body, '\n'))
}

// Sync makes a file, or the names in a directory, durable.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
