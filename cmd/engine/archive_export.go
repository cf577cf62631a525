package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// archiveExportCmd writes the journal up to the heads it has when it starts.
type archiveExportCmd struct {
	target
	File string `arg:"" optional:"" default:"-" help:"Where to; - is standard output. Compressed by its name: .zst, .jsonl not at all, all others gzip."`
	JSON bool   `name:"json" help:"Machine output."`

	Postgres string `help:"Postgres, where a trimmed journal's past is; default: as the engine's status says." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
}

func (c *archiveExportCmd) Run(ctx context.Context, out *output) error {
	nc, err := c.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	source, done, err := c.whole(ctx, nc, c.Postgres)
	if err != nil {
		return err
	}
	defer done()
	if c.File == "-" {
		name := ".gz"
		if isTerminal(out.Writer) {
			name = ".jsonl"
		}
		_, damage, err := exportTo(ctx, source, out, name)
		return errors.Join(err, damage)
	}
	said, damage, err := exportFile(ctx, source, c.File)
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(out).Encode(said)
	} else {
		_, err = fmt.Fprintf(out, "exported %d events of %d partitions, heads %v, to %s (%d bytes)\n",
			said.Events, said.Partitions, said.Heads, said.File, said.Bytes)
	}
	return errors.Join(err, damage)
}

// exportFile writes a file under another name and gives it its own when it is
// whole and on the disk, so that a torn one is never mistaken for a backup.
func exportFile(ctx context.Context, source history.Source, path string) (_ exported, damage, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.partial")
	if err != nil {
		return exported{}, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	said, damage, err := exportTo(ctx, source, f, path)
	if err != nil {
		return said, nil, errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return said, nil, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return said, nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return said, nil, err
	}
	said.File, said.Bytes = path, info.Size()
	return said, damage, syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory last.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// exportTo writes the journal. damage says what is wrong with the journal
// itself: it is written as it is, but an import will refuse it.
func exportTo(ctx context.Context, source history.Source, w io.Writer, name string) (said exported, damage, err error) {
	h := export.Header{Journal: source.ID(), Partitions: source.Partitions(), MadeAt: time.Now().UTC()}
	for p := range h.Partitions {
		head, err := source.Head(ctx, p)
		if err != nil {
			return said, nil, err
		}
		h.Heads = append(h.Heads, head)
	}
	packed, err := export.Pack(w, name)
	if err != nil {
		return said, nil, err
	}
	file, err := export.NewWriter(packed, h)
	if err != nil {
		return said, nil, err
	}
	bar := startProgress(int(h.Events()), "events")
	defer bar.end()
	for p, head := range h.Heads {
		broken, err := exportPartition(ctx, source, p, head, file, bar)
		if err != nil {
			return said, nil, err
		}
		if damage == nil {
			damage = broken
		}
	}
	if err := errors.Join(file.Close(), packed.Close()); err != nil {
		return said, nil, err
	}
	if damage != nil {
		damage = fmt.Errorf("the journal itself is damaged: %w\n(the file holds it as it is; import would refuse it; see 'engine verify')", damage)
	}
	return exported{Journal: h.Journal, Partitions: h.Partitions, Heads: h.Heads, Events: file.Events()}, damage, nil
}

func exportPartition(ctx context.Context, source history.Source, p int, head uint64, file *export.Writer, bar *progress) (damage, err error) {
	if head == 0 {
		return nil, nil
	}
	cur, err := source.Read(ctx, p, 0)
	if err != nil {
		return nil, err
	}
	defer cur.Stop()
	chains := history.NewChains()
	for at := uint64(0); at < head; {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return nil, fmt.Errorf("the journal's reader ended: %w", cur.Err())
			}
			if m.Revision != at+1 {
				return nil, fmt.Errorf("revisions %d to %d of partition %d are missing: was the journal shortened?", at+1, m.Revision-1, p)
			}
			at = m.Revision
			if broken := chains.Follow(&m); damage == nil {
				damage = broken
			}
			if err := file.Event(&m); err != nil {
				return nil, err
			}
			bar.done.Add(1)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return damage, nil
}
