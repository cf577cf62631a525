package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// Archive is backup, restore and migration by export and import, and retention
// by trim.
type Archive struct {
	Export Export `cmd:"" help:"Write the whole journal into a file, while the engine runs."`
	Import Import `cmd:"" help:"Fill an empty journal from a file of archive export."`
	Trim   Trim   `cmd:"" help:"Remove old events that are archived and superseded from the journal."`
}

// Export writes the journal up to the heads that it has at the start.
type Export struct {
	deployment.Target
	File     string `arg:"" optional:"" default:"-" help:"File to write; - is standard output. Its name chooses the compression: .zst, .jsonl for none, gzip otherwise."`
	Postgres string `help:"Postgres with the archive of a trimmed journal; default: as in the engine's status." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
}

// transferred is the report of an export or an import.
type transferred struct {
	File       string   `json:"file"`
	Journal    string   `json:"journal"` // incarnation of the exported journal
	Partitions int      `json:"partitions"`
	Heads      []uint64 `json:"heads"`
	Events     uint64   `json:"events"`
	Bytes      int64    `json:"bytes"` // of the file
	Unreadable int      `json:"unreadable,omitempty"`
}

// Run implements the command.
func (c *Export) Run(ctx context.Context, out *Output) error {
	nc, err := c.ConnectArea(ctx, "archive")
	if err != nil {
		return err
	}
	defer nc.Close()
	stores, err := c.OpenHistory(ctx, nc, c.Postgres, nil)
	if err != nil {
		return err
	}
	defer stores.Close()
	source := stores.History()
	bar := NewProgress(-1, "events exported", "events")
	if c.File == "-" {
		name := ".gz"
		if isTerminal(out.Writer) {
			name = ".jsonl"
		}
		saved, err := export.Save(ctx, source, out, name, bar.Step)
		bar.End()
		return errors.Join(err, damageOf(saved))
	}
	saved, err := export.SaveFile(ctx, source, c.File, bar.Step)
	bar.End()
	if err != nil {
		return err
	}
	if saved.Removed > 0 {
		fmt.Fprintf(os.Stderr, "removed %s of killed exports to %s\n", counted.Of(saved.Removed, "unfinished file"), c.File)
	}
	h := saved.Header
	err = out.Result(transferred{File: c.File, Journal: h.Journal, Partitions: h.Partitions, Heads: h.Heads, Events: saved.Events, Bytes: saved.Bytes}, func() {
		out.Printf("exported %s of %s, heads %v, to %s (%d bytes)\n",
			counted.Of(saved.Events, "event"), counted.Of(h.Partitions, "partition"), h.Heads, c.File, saved.Bytes)
	})
	return errors.Join(err, damageOf(saved))
}

func damageOf(saved *export.Saved) error {
	if saved == nil || saved.Damage == nil {
		return nil
	}
	return fmt.Errorf("the journal itself is damaged: %w (the file has its events as they are, and an import refuses it; see 'engine verify')", saved.Damage)
}
