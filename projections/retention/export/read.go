package export

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/events"
)

// maxLine bounds a line, in bytes: more than the largest message of a server as base64.
const maxLine = 64 << 20

// Event is one stored event.
type Event struct {
	Partition int
	Revision  uint64
	Stream    events.AggregateName
	Body      []byte
}

// Reader reads a file and checks it: every revision of every partition, once and in order, and the
// digest over all lines.
type Reader struct {
	Header Header
	// Sum is the file's digest, set when Next has returned io.EOF.
	Sum string

	lines *bufio.Scanner
	n     int // lines read
	sum   hash.Hash
	part  int
	rev   uint64
}

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	d := &Reader{lines: bufio.NewScanner(r), sum: sha256.New()}
	d.lines.Buffer(make([]byte, 1<<18), maxLine)
	text, err := d.next()
	if err != nil {
		return nil, err
	}
	h := &d.Header
	if err := json.Unmarshal(text, h); err != nil || h.Format != format {
		return nil, fmt.Errorf("this is not a journal export: its first line is %.60q", text)
	}
	if h.Version != Version {
		return nil, fmt.Errorf("the file has format version %d, this engine reads version %d: use the engine that wrote it, or a newer one", h.Version, Version)
	}
	if h.Partitions < 1 || h.Partitions > maxPartitions || len(h.Heads) != h.Partitions {
		return nil, d.damaged("the header names %d partitions and %d heads, and a journal has 1 to %d", h.Partitions, len(h.Heads), maxPartitions)
	}
	d.hash(text)
	return d, nil
}

// Next returns the next event; io.EOF after a valid trailer. On ErrDamaged no event of the file is
// reliable.
func (d *Reader) Next() (Event, error) {
	text, err := d.next()
	if err != nil {
		return Event{}, err
	}
	var l line
	if err := json.Unmarshal(text, &l, json.RejectUnknownMembers(true)); err != nil {
		return Event{}, d.damaged("%v", err)
	}
	if l.Events != nil {
		return Event{}, d.end(&l)
	}
	for d.part < d.Header.Partitions && d.rev == d.Header.Heads[d.part] {
		d.part, d.rev = d.part+1, 0
	}
	d.rev++
	if l.Partition != d.part || l.Revision != d.rev {
		return Event{}, d.damaged("it contains revision %d of partition %d where revision %d of partition %d is expected", l.Revision, l.Partition, d.rev, d.part)
	}
	stream, ok := strings.CutPrefix(l.Subject, subjectRoot)
	if !ok || !addressable(stream) {
		return Event{}, d.damaged("%.80q (%d bytes) is not the subject of an event", l.Subject, len(l.Subject))
	}
	d.hash(text)
	ev := Event{Partition: l.Partition, Revision: l.Revision, Stream: events.AggregateName(stream), Body: l.Event}
	if l.Event == nil {
		ev.Body = l.Body
	}
	return ev, nil
}

// addressable reports whether the name of an aggregate can be published to.
func addressable(name string) bool {
	return len(name) <= maxName && events.AggregateName(name).Valid() && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Line is the number of the line that was read last.
func (d *Reader) Line() int { return d.n }

// end checks the trailer, and that nothing follows it.
func (d *Reader) end(l *line) error {
	if want := d.Header.Events(); *l.Events != want {
		return d.damaged("the trailer counts %d events, the header %d", *l.Events, want)
	}
	for d.part < d.Header.Partitions && d.rev == d.Header.Heads[d.part] {
		d.part, d.rev = d.part+1, 0
	}
	if d.part != d.Header.Partitions {
		return d.damaged("it ends at revision %d of partition %d", d.rev, d.part)
	}
	if got := sumOf(d.sum); got != l.SHA256 {
		return d.damaged("its digest is %.16s, the digest of its content is %.16s", l.SHA256, got)
	}
	d.Sum = l.SHA256
	switch _, err := d.next(); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.EOF
	case err != nil:
		return err
	}
	return d.damaged("there is data after the trailer")
}

// next returns the next line; io.ErrUnexpectedEOF when there is none.
func (d *Reader) next() ([]byte, error) {
	d.n++
	if d.lines.Scan() {
		return d.lines.Bytes(), nil
	}
	if err := d.lines.Err(); err != nil {
		return nil, d.damaged("%v", err)
	}
	return nil, fmt.Errorf("%w: it ends after line %d, without a trailer: was it truncated? (%w)", ErrDamaged, d.n-1, io.ErrUnexpectedEOF)
}

func (d *Reader) hash(text []byte) {
	d.sum.Write(text)
	d.sum.Write([]byte{'\n'})
}

func (d *Reader) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %w", ErrDamaged, d.n, fmt.Errorf(format, args...))
}
