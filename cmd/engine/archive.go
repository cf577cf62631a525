package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// archiveCmd is what is done with the journal as a whole: backup, restore and
// migration are export and import, retention is trim.
type archiveCmd struct {
	Export archiveExportCmd `cmd:"" help:"Write the whole journal into a file, while it is written to."`
	Import archiveImportCmd `cmd:"" help:"Fill an empty journal from such a file."`
	Trim   archiveTrimCmd   `cmd:"" help:"Remove old events that are archived and superseded from the journal."`
}

// whole opens the journal with what was trimmed from it, for reading; done ends
// that. Only a journal that was trimmed needs an engine that says where its SQL
// is, and postgres overrules it.
func (t *target) whole(ctx context.Context, nc *nats.Conn, postgres string) (j history.Joined, done func(), err error) {
	journal, err := journal.OpenExisting(ctx, nc, natsio.NewSubjects(t.SubjectPrefix))
	if err != nil {
		return j, nil, err
	}
	trimmed := false
	for p := range journal.Partitions() {
		cut, err := journal.Trimmed(ctx, p)
		if err != nil {
			return j, nil, err
		}
		trimmed = trimmed || cut > 0
	}
	s, _, err := askStatus(ctx, nc, t)
	var db *pg.DB
	if err == nil {
		db, err = openSQL(&s, postgres)
	}
	if err != nil && trimmed {
		return j, nil, fmt.Errorf("the journal was trimmed, so the archive in SQL is needed: %w", err)
	}
	done = func() {}
	if db != nil {
		done = db.Close
	}
	return joined(journal, db), done, nil
}

// exported is what export and import say of a file.
type exported struct {
	File       string   `json:"file"`
	Journal    string   `json:"journal"` // incarnation of the journal that was exported
	Partitions int      `json:"partitions"`
	Heads      []uint64 `json:"heads"`
	Events     uint64   `json:"events"`
	Bytes      int64    `json:"bytes"` // of the file
	Unreadable int      `json:"unreadable,omitempty"`
}

// unpacked is a file that is read through its compression.
type unpacked struct {
	io.ReadCloser
	file *os.File
}

func (u *unpacked) Close() error { return errors.Join(u.ReadCloser.Close(), u.file.Close()) }

// openDump opens a file for reading.
func openDump(path string) (*export.Reader, io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	u, err := export.Unpack(f)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	both := &unpacked{u, f}
	r, err := export.NewReader(u)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), both.Close())
	}
	return r, both, nil
}
