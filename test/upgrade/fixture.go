// Package upgrade opens data directories that earlier builds of the engine
// wrote, and goes on with them. A fixture is a pair of files in testdata:
// NAME.tar.zst holds the data directory as the build left it after a clean stop
// (the embedded NATS server's files and the engine's notes) and a plain SQL dump
// of its database; NAME.json holds what the build answered. test/upgrade/make
// writes such a pair.
package upgrade

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Fixture is what a build answered about the data directory it left. Bodies
// and replies are strings, so that they keep their bytes.
type Fixture struct {
	Build   string    `json:"build"` // what `engine version` printed
	Made    time.Time `json:"made"`
	Head    uint64    `json:"head"`    // last revision of the journal
	Trimmed uint64    `json:"trimmed"` // revision up to which the journal was trimmed
	Events  int       `json:"events"`  // lines of `engine replay`
	Replay  string    `json:"replay"`  // SHA-256 of the output of `engine replay`
	State   string    `json:"state"`   // digest of `engine replay --state`
	Token   string    `json:"token"`   // a read position that was given to a client

	Messages    []string     `json:"messages"`     // ids of messages, in the order they were sent
	Due         []string     `json:"due"`          // subjects of aggregates that change by themselves when their time has come
	DeadLetters []DeadLetter `json:"dead_letters"` // as listed by `engine dlq list`
	Held        string       `json:"held"`         // the dead letter of an aggregate that the durable view quarantines
	Release     string       `json:"release"`      // SQL that removes the reason for it
	Last        []Last       `json:"last"`         // last event of each aggregate
	Commands    []Command    `json:"commands"`     // commands that took effect, and their replies
	Answers     []Answer     `json:"answers"`
}

// Last is the last event of an aggregate.
type Last struct {
	Subject  string `json:"subject"`
	Revision uint64 `json:"revision"`
	Version  uint64 `json:"version"`
	Digest   string `json:"digest"`
}

// DeadLetter is a message or an aggregate's events that could not be processed.
type DeadLetter struct {
	Subject   string `json:"subject"`
	CommandID string `json:"command_id,omitempty"`
}

// DeadLetters reads what `engine dlq list --json` printed, ordered by subject.
// Views may have come since the fixture was made.
func DeadLetters(text string) (all []DeadLetter, err error) {
	for line := range strings.Lines(text) {
		var d DeadLetter
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			return nil, fmt.Errorf("read a dead letter %q: %w", line, err)
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b DeadLetter) int { return strings.Compare(a.Subject, b.Subject) })
	return slices.Compact(all), nil // an aggregate that several views have set aside counts once
}

// Command is a request on a subject below commands. Its reply is a receipt or,
// where Refused is not zero, the error of a write that lost.
type Command struct {
	Subject string `json:"subject"`
	ID      string `json:"id,omitempty"`
	Body    string `json:"body"`
	Refused int    `json:"refused,omitempty"` // status of the error
	Reply   string `json:"reply"`
}

// Answer is the reply to a query, or what a subcommand printed.
type Answer struct {
	Subject string   `json:"subject,omitempty"`
	Body    string   `json:"body,omitempty"`
	Args    []string `json:"args,omitempty"` // of a subcommand, without --data
	Reply   string   `json:"reply"`
}

// dumpName is the SQL dump's name in the archive; the data directory is beside
// it, as data.
const dumpName = "dump.sql"

// Write writes a fixture: the data directory without Postgres, locks and logs,
// and a dump of the database.
func (f *Fixture) Write(testdata, name, data string, dump []byte) (err error) {
	var golden bytes.Buffer
	enc := json.NewEncoder(&golden)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(f); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(testdata, name+".json"), golden.Bytes(), 0o644); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(testdata, name+".tar.zst"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	z, err := zstd.NewWriter(file, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	err = filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path == filepath.Join(data, "postgres"):
			return fs.SkipDir
		case d.IsDir() || strings.HasSuffix(path, ".lock"):
			return nil
		}
		name, err := filepath.Rel(data, path)
		if err != nil {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return add(w, "data/"+filepath.ToSlash(name), body)
	})
	return errors.Join(err, add(w, dumpName, dump), w.Close(), z.Close())
}

func add(w *tar.Writer, name string, body []byte) error {
	err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(body)), Mode: 0o600})
	if err == nil {
		_, err = w.Write(body)
	}
	return err
}

// Read reads a fixture, unpacks its data directory into dir/data and returns
// the dump of its database.
func Read(testdata, name, dir string) (f Fixture, dump string, err error) {
	golden, err := os.ReadFile(filepath.Join(testdata, name+".json"))
	if err == nil {
		err = json.Unmarshal(golden, &f)
	}
	if err != nil {
		return f, "", err
	}
	file, err := os.Open(filepath.Join(testdata, name+".tar.zst"))
	if err != nil {
		return f, "", err
	}
	defer file.Close()
	z, err := zstd.NewReader(file)
	if err != nil {
		return f, "", err
	}
	defer z.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return f, dump, nil
		}
		if err != nil {
			return f, "", fmt.Errorf("unpack %s: %w", file.Name(), err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			return f, "", fmt.Errorf("unpack %s: %w", file.Name(), err)
		}
		if h.Name == dumpName {
			dump = string(body)
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return f, "", err
		}
		if err := os.WriteFile(path, body, 0o600); err != nil {
			return f, "", err
		}
	}
}
