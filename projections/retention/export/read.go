package export

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/events"
)

// maxLine bounds a line, in bytes: the largest message of a server, as base64,
// and more.
const maxLine = 64 << 20

// Event is one stored event.
type Event struct {
	Partition int
	Revision  uint64
	Stream    events.Stream
	Body      []byte
}

// Reader reads a file and checks its form: every revision of every partition,
// once and in order, and the digest over all of it.
type Reader struct {
	Header Header
	// Sum is the file's digest, once Next has said io.EOF.
	Sum string

	lines *bufio.Scanner
	n     int // of lines
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
	if err := json.Unmarshal(text, h); err != nil || h.Format != Format {
		return nil, fmt.Errorf("this is no export of a journal: its first line is %.60q", text)
	}
	if h.Version != Version {
		return nil, fmt.Errorf("the file has form %d, this engine reads form %d: use the engine that wrote it, or a newer one", h.Version, Version)
	}
	if h.Partitions < 1 || len(h.Heads) != h.Partitions {
		return nil, d.damaged("the header names %d partitions and %d heads", h.Partitions, len(h.Heads))
	}
	d.keep(text)
	return d, nil
}

// Next is the next event; io.EOF when the file has ended as it must. Any other
// error that is ErrDamaged means: nothing of the file can be relied upon.
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
		return Event{}, d.damaged("it holds revision %d of partition %d where revision %d of partition %d belongs", l.Revision, l.Partition, d.rev, d.part)
	}
	stream, ok := strings.CutPrefix(l.Subject, subjectRoot)
	if !ok || !addressable(stream) {
		return Event{}, d.damaged("%.80q is not the subject of an event", l.Subject)
	}
	d.keep(text)
	ev := Event{Partition: l.Partition, Revision: l.Revision, Stream: events.Stream(stream), Body: l.Event}
	if l.Event == nil {
		ev.Body = l.Body
	}
	return ev, nil
}

// addressable tells whether a stream's name can be published to.
func addressable(stream string) bool {
	return len(stream) > 0 && !strings.ContainsAny(stream, " \t\r\n*>") &&
		!strings.HasPrefix(stream, ".") && !strings.HasSuffix(stream, ".") && !strings.Contains(stream, "..")
}

// end checks the trailer, and that nothing comes after it.
func (d *Reader) end(l *line) error {
	if want := d.Header.Events(); *l.Events != want {
		return d.damaged("it ends with %d events, its header promises %d", *l.Events, want)
	}
	for d.part < d.Header.Partitions && d.rev == d.Header.Heads[d.part] {
		d.part, d.rev = d.part+1, 0
	}
	if d.part != d.Header.Partitions {
		return d.damaged("it ends at revision %d of partition %d", d.rev, d.part)
	}
	if got := sumOf(d.sum); got != l.SHA256 {
		return d.damaged("its digest is %.16s, its content says %.16s", l.SHA256, got)
	}
	d.Sum = l.SHA256
	switch _, err := d.next(); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.EOF
	case err != nil:
		return err
	}
	return d.damaged("something follows its end")
}

// next is a line; io.ErrUnexpectedEOF where there is none.
func (d *Reader) next() ([]byte, error) {
	d.n++
	if d.lines.Scan() {
		return d.lines.Bytes(), nil
	}
	if err := d.lines.Err(); err != nil {
		return nil, d.damaged("%v", err)
	}
	return nil, fmt.Errorf("%w: it ends after line %d, before its end: was it cut short? (%w)", ErrDamaged, d.n-1, io.ErrUnexpectedEOF)
}

func (d *Reader) keep(text []byte) {
	d.sum.Write(text)
	d.sum.Write([]byte{'\n'})
}

func (d *Reader) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s", ErrDamaged, d.n, fmt.Sprintf(format, args...))
}
