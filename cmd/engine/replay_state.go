package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// state prints every row that was living at a place, as a JSON line each,
// sorted: the whole model as of a moment. A revision bounds every partition; of
// a time, what counts is when events were recorded, which is why the journal
// is then read to its head.
func (c *replayCmd) state(ctx context.Context, nc *nats.Conn, to bound, out *output) error {
	source, done, err := c.whole(ctx, nc, c.Postgres)
	if err != nil {
		return err
	}
	defer done()
	f := stateFold{pattern: c.Subject, root: natsio.NewSubjects(c.SubjectPrefix).Root("events."), to: to, rows: map[events.Stream][]byte{}}
	if isTerminal(os.Stderr) {
		f.step = func(p int, at, head uint64) { fmt.Fprintf(os.Stderr, "\rpartition %d: %d of %d", p, at, head) }
	}
	for p := range source.Partitions() {
		if err := f.partition(ctx, source, p); err != nil {
			return err
		}
	}
	if f.step != nil {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
	return f.print(out, os.Stderr)
}

// stateFold is the fold of a journal up to a place.
type stateFold struct {
	pattern, root string
	to            bound
	rows          map[events.Stream][]byte // the living, as lines
	bad           []string
	step          func(partition int, at, head uint64)
}

func (f *stateFold) partition(ctx context.Context, source history.Joined, p int) error {
	head, err := source.Head(ctx, p)
	if f.to.revision > 0 {
		head = min(head, f.to.revision)
	}
	if err != nil || head == 0 {
		return err
	}
	cur, err := source.Read(ctx, p, 0)
	if err != nil {
		return err
	}
	defer cur.Stop()
	for n := 0; ; n++ {
		select {
		case m, open := <-cur.Messages():
			switch {
			case !open:
				return fmt.Errorf("read partition %d: %w", p, cur.Err())
			case m.Revision > head: // the head itself may have been trimmed
				return nil
			}
			f.add(&m)
			if f.step != nil && n%5000 == 0 {
				f.step(p, m.Revision, head)
			}
			if m.Revision == head {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *stateFold) add(m *history.Message) {
	switch {
	case f.pattern != "" && !fits(f.pattern, f.root+string(m.Stream)):
		return
	case m.Bad != nil:
		f.bad = append(f.bad, fmt.Sprintf("revision %d of partition %d (%s) cannot be read: %v", m.Revision, m.Partition, m.Stream, m.Bad))
		return
	case !f.to.at.IsZero() && m.RecordedAt.After(f.to.at):
		return
	}
	changes := projections.Fold([]history.Message{*m})
	for _, poison := range changes.Poison {
		f.bad = append(f.bad, fmt.Sprintf("revision %d of partition %d (%s) cannot be folded: %v", m.Revision, m.Partition, m.Stream, poison.Bad))
	}
	for _, e := range changes.Entries {
		f.keep(m, readmodel.KindEntry, e.Key, e.Deleted, e.EncodeKV)
	}
	for _, d := range changes.Docs {
		f.keep(m, d.Kind, d.Key, d.Deleted, d.EncodeKV)
	}
}

// keep notes a row, in the form of its bucket, or its end.
func (f *stateFold) keep(m *history.Message, kind, key string, deleted bool, encode func() []byte) {
	if deleted {
		delete(f.rows, m.Stream)
		return
	}
	b := append(events.AppendString([]byte{'{'}, "kind", kind), ',')
	b = events.AppendString(b, "id", m.ID)
	if key != "" {
		b = events.AppendString(append(b, ','), "key", key)
	}
	b = append(append(b, `,"row":`...), oneLine(encode())...)
	f.rows[m.Stream] = append(b, '}')
}

// print prints the rows and, apart from them, how many they are and the digest
// of all lines.
func (f *stateFold) print(out, notes io.Writer) error {
	lines := make([][]byte, 0, len(f.rows))
	for _, line := range f.rows {
		lines = append(lines, line)
	}
	slices.SortFunc(lines, bytes.Compare)
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(out, sum), 1<<16)
	for _, line := range lines {
		w.Write(line)
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, bad := range f.bad {
		fmt.Fprintln(notes, bad)
	}
	fmt.Fprintf(notes, "%d rows, digest sha256:%x\n", len(lines), sum.Sum(nil))
	if len(f.bad) > 0 {
		return errors.New("the state is without the events that could not be read")
	}
	return nil
}

// fits tells whether a subject matches a pattern of NATS.
func fits(pattern, subject string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range want {
		if token == ">" {
			return len(have) > i
		}
		if i >= len(have) || token != "*" && token != have[i] {
			return false
		}
	}
	return len(want) == len(have)
}
