package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
)

// archiveImportCmd fills an empty journal. A data directory that nobody serves
// is served for that time; otherwise the engine's server, or an external one.
type archiveImportCmd struct {
	target
	File string `arg:"" help:"What export wrote; its compression is seen by its content."`
	JSON bool   `name:"json" help:"Machine output."`
}

func (c *archiveImportCmd) Run(ctx context.Context, out *output) error {
	info, err := os.Stat(c.File)
	if err != nil {
		return fmt.Errorf("%w (import reads its file twice and takes no standard input)", err)
	}
	// A file with a mistake writes nothing: all of it is read before the first write.
	checked, err := checkDump(c.File)
	if err != nil {
		return err
	}
	nc, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := c.fill(ctx, nc, checked); err != nil {
		return err
	}
	said := exported{
		File: c.File, Bytes: info.Size(), Journal: checked.header.Journal, Partitions: checked.header.Partitions,
		Heads: checked.header.Heads, Events: checked.header.Events(), Unreadable: checked.unreadable,
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(said)
	}
	fmt.Fprintf(out, "imported %d events of %d partitions, heads %v\n", said.Events, said.Partitions, said.Heads)
	if said.Unreadable > 0 {
		fmt.Fprintf(out, "%d of them cannot be read by this engine; they are as they were\n", said.Unreadable)
	}
	return nil
}

// open connects with the rights that an import needs. done ends what it started.
func (c *archiveImportCmd) open(ctx context.Context) (nc *nats.Conn, done func(), err error) {
	if c.Server == "" {
		lock, err := lockData(c.Data)
		if err == nil {
			nc, stop, err := c.serveData()
			if err != nil {
				return nil, nil, errors.Join(err, lock.Close())
			}
			return nc, func() { stop(); lock.Close() }, nil
		}
		if _, noted := readNote(c.Data); noted != nil {
			return nil, nil, err
		}
	}
	if nc, err = c.connect(); err != nil {
		return nil, nil, err
	}
	answered := true
	if _, err := nc.Request("$SRV.PING.tidemark", nil, c.Timeout); errors.Is(err, nats.ErrNoResponders) {
		answered = false // an external server that no engine serves
	} else if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("ask whether an engine serves there: %w", err)
	}
	if answered {
		nc.Close()
		if nc, err = c.connectOperator(ctx); err != nil {
			return nil, nil, err
		}
	}
	return nc, nc.Close, nil
}

// serveData runs the embedded server on the data directory, as serve does.
func (c *archiveImportCmd) serveData() (*nats.Conn, func(), error) {
	if _, err := os.Stat(filepath.Join(c.Data, "nats")); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(c.Data, "postgres")); err == nil {
			return nil, nil, fmt.Errorf("%s holds the SQL of a journal that is gone, which does not fit the one that would be made: "+
				"import into a new data directory, or move %s away", c.Data, filepath.Join(c.Data, "postgres"))
		}
	}
	log := newLog(os.Stderr, "warn", "auto")
	s, err := startEmbedded(c.Data, "127.0.0.1:0", c.SubjectPrefix, true, log)
	if err != nil {
		return nil, nil, err
	}
	nc, err := natsio.Connect(s.URL(), "tidemark-import", log, s.Options()...)
	if err != nil {
		s.Stop()
		return nil, nil, err
	}
	return nc, func() { nc.Close(); s.Stop() }, nil
}

// Bounds of a batch: so many events share one sync of the disk.
const (
	fillEvents = 256
	fillBytes  = 4 << 20
)

// fill reads the file once more and writes it, from where an earlier run of the
// same import has stopped.
func (c *archiveImportCmd) fill(ctx context.Context, nc *nats.Conn, checked *checkedDump) error {
	subjects := natsio.NewSubjects(c.SubjectPrefix)
	refill, err := journal.OpenImporter(ctx, nc, journal.Config{Subjects: subjects, Partitions: checked.header.Partitions}, checked.sum)
	if err != nil {
		return err
	}
	r, file, err := openDump(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	bar := startProgress(int(checked.header.Events()), "events imported")
	defer bar.end()
	f := &filler{ctx: ctx, refill: refill, recent: checked.recent, bar: bar, heads: make([]uint64, checked.header.Partitions)}
	for p := range f.heads {
		if f.heads[p], err = refill.Head(ctx, p); err != nil {
			return err
		}
		if f.heads[p] > checked.header.Heads[p] {
			return fmt.Errorf("partition %d is at revision %d already, the file ends at %d: who else has written to this journal?", p, f.heads[p], checked.header.Heads[p])
		}
	}
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = f.take(ev.Partition, ev.Revision, ev.Stream, ev.Body)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
	}
	if err := f.flush(); err != nil {
		return err
	}
	if r.Sum != checked.sum {
		return fmt.Errorf("%s was changed while it was imported: the journal stays closed", c.File)
	}
	if err := rearm(ctx, nc, subjects, refill.Journal); err != nil {
		return err
	}
	return refill.Done(ctx)
}

// filler gathers events into batches.
type filler struct {
	ctx    context.Context
	refill *journal.Importer
	recent map[spot]string
	bar    *progress
	heads  []uint64 // what the journal has
	part   int
	batch  []journal.Stored
	bytes  int
}

func (f *filler) take(p int, revision uint64, s events.Stream, body []byte) error {
	f.bar.done.Add(1)
	if revision <= f.heads[p] {
		return nil // an earlier run has brought it
	}
	if p != f.part || len(f.batch) == fillEvents || f.bytes+len(body) > fillBytes {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.part, f.bytes = p, f.bytes+len(body)
	f.batch = append(f.batch, journal.Stored{Stream: s, Body: body, ID: f.recent[spot{p, revision}]})
	return nil
}

func (f *filler) flush() error {
	if len(f.batch) == 0 {
		return nil
	}
	if err := f.refill.Fill(f.ctx, f.part, f.heads[f.part], f.batch); err != nil {
		return err
	}
	f.heads[f.part] += uint64(len(f.batch))
	f.batch, f.bytes = f.batch[:0], 0
	return nil
}

// rearm sets the timers of tasks that have not ended, which are not in the
// journal and were left where it came from.
func rearm(ctx context.Context, nc *nats.Conn, s natsio.Subjects, j *journal.Journal) error {
	timers, err := coordination.OpenTimers(ctx, nc, s, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	var failed error
	err = j.EachLast(ctx, "task.*", func(rec events.Record) {
		if failed == nil {
			failed = reactors.Rearm(ctx, timers, &rec)
		}
	})
	return errors.Join(err, failed)
}
