// Package export is a journal as a file: JSON lines, a header first, then every
// event as it is stored, partition by partition and in order, and at last a
// trailer with a digest over all lines, so that a file which is torn or was
// changed is never taken for a journal. docs/howto/back-up.md describes it for users.
package export

import (
	"encoding/hex"
	"errors"
	"hash"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Format names what the file is, Version its form.
const (
	Format  = "tidemark-journal"
	Version = 1
)

// subjectRoot is before a stream's name in a file; an engine's own subject
// prefix is not in it, so that a journal may move to another.
const subjectRoot = "events."

// Header is the first line.
type Header struct {
	Format     string    `json:"format"`
	Version    int       `json:"version"`
	Journal    string    `json:"journal"` // its incarnation
	Partitions int       `json:"partitions"`
	Heads      []uint64  `json:"heads"` // the last revision of each partition that the file holds
	MadeAt     time.Time `json:"made_at"`
}

// Events is how many events the file holds: revisions are dense.
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
	Body      []byte         `json:"body"` // instead of Event, base64: bytes that do not fit into a line as they are

	Events *uint64 `json:"events"`
	SHA256 string  `json:"sha256"`
}

// ErrDamaged means that a file is not whole, or not as it was written.
var ErrDamaged = errors.New("the file is damaged")

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
