// Package export writes a journal to a file and reads it back: JSON lines, first a header, then
// every event as it is stored, by partition in order, and last a trailer with a digest over all
// lines, which detects a truncated or changed file. docs/howto/back-up.md describes the format for
// users.
package export

import (
	"encoding/hex"
	"errors"
	"hash"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// format identifies the file type, Version its schema.
const (
	format  = "tidemark-journal"
	Version = 1
)

// maxPartitions is the largest number of partitions that a journal can have.
const maxPartitions = 64

// maxName bounds the name of an aggregate, in bytes: an agent, "state" or "conflicts", and
// the longest key, with room. A server closes the connection of a client that sends a
// subject of more than 4 KiB.
const maxName = 512

// subjectRoot precedes a stream's name in a file. An engine's own subject prefix is not in the
// file, so that a journal can be imported under another one.
const subjectRoot = "events."

// Header is the first line.
type Header struct {
	Format     string    `json:"format"`
	Version    int       `json:"version"`
	Journal    string    `json:"journal"` // its incarnation
	Partitions int       `json:"partitions"`
	Heads      []uint64  `json:"heads"` // the last revision of each partition in the file
	MadeAt     time.Time `json:"made_at"`
}

// Events returns the number of events in the file: revisions are dense.
func (h *Header) Events() (n uint64) {
	for _, head := range h.Heads {
		n += head
	}
	return n
}

// line is an event, or the trailer.
type line struct {
	Partition int            `json:"partition"`
	Revision  uint64         `json:"revision"`
	Subject   string         `json:"subject"`
	Event     jsontext.Value `json:"event"`
	Body      []byte         `json:"body"` // replaces Event, base64: bytes that are not one line of JSON

	Events *uint64 `json:"events"`
	SHA256 string  `json:"sha256"`
}

// ErrDamaged means that a file is truncated or was changed.
var ErrDamaged = errors.New("the file is damaged")

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
