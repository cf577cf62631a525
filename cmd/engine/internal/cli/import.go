package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// Import fills an empty journal: on the server of a running engine, on an
// external server, or in a data directory that no engine serves.
type Import struct {
	deployment.Target
	File string      `arg:"" type:"existingfile" help:"File that export wrote; its compression is detected."`
	Keys keys.Source `embed:""`
}

// Validate refuses standard input.
func (c *Import) Validate() error {
	if c.File == "-" {
		return errors.New("import reads its file twice, so it does not read standard input")
	}
	return nil
}

// Run implements the command. It reads the whole file before the first write, so
// that a damaged file writes nothing.
func (c *Import) Run(ctx context.Context, out *Output) error {
	info, err := os.Stat(c.File)
	if err != nil {
		return err
	}
	bar := NewProgress(-1, "events checked", "events")
	checked, err := export.Check(c.File, commands.MessageID, bar.Step)
	bar.End()
	if err != nil {
		return err
	}
	nc, done, err := c.open(ctx, checked)
	if err != nil {
		return err
	}
	defer done()
	if err := checked.CheckSize(nc.MaxPayload()); err != nil {
		return err
	}
	if err := c.restore(ctx, nc, checked); err != nil {
		return err
	}
	h := checked.Header
	return out.Result(transferred{File: c.File, Bytes: info.Size(), Journal: h.Journal, Partitions: h.Partitions,
		Heads: h.Heads, Events: h.Events(), Unreadable: checked.Unreadable}, func() {
		out.Printf("imported %s of %s, heads %v\n", counted.Of(h.Events(), "event"), counted.Of(h.Partitions, "partition"), h.Heads)
		if checked.Unreadable > 0 {
			out.Printf("this engine cannot decode %d of them; it has stored them unchanged\n", checked.Unreadable)
		}
	})
}

// open connects with the rights of an import; done ends what it has started.
func (c *Import) open(ctx context.Context, checked *export.Checked) (nc *nats.Conn, done func(), err error) {
	if c.Server == "" {
		if err := checked.CheckSize(embedded.MaxPayload); err != nil { // before the directory is made
			return nil, nil, err
		}
		unlock, err := deployment.Lock(c.Data)
		if err == nil {
			nc, stop, err := c.startNATS(ctx)
			if err != nil {
				return nil, nil, errors.Join(err, unlock())
			}
			return nc, func() { stop(); _ = unlock() }, nil
		}
		if _, noNote := deployment.ReadNote(c.Data); noNote != nil {
			return nil, nil, err
		}
	}
	if nc, err = c.Connect(); err != nil {
		return nil, nil, err
	}
	_, err = nc.Request("$SRV.PING.tidemark", nil, c.Timeout)
	switch {
	case errors.Is(err, nats.ErrNoResponders): // an external server without an engine
		return nc, nc.Close, nil
	case err != nil:
		nc.Close()
		return nil, nil, fmt.Errorf("ask for a running engine: %w", err)
	}
	nc.Close()
	if nc, err = c.ConnectOperator(ctx, "archive"); err != nil {
		return nil, nil, err
	}
	return nc, nc.Close, nil
}

// startNATS runs the embedded server on the data directory, as serve does.
func (c *Import) startNATS(ctx context.Context) (*nats.Conn, func(), error) {
	if _, err := os.Stat(filepath.Join(c.Data, "nats")); errors.Is(err, fs.ErrNotExist) {
		sql := filepath.Join(c.Data, "postgres")
		if _, err := os.Stat(sql); err == nil {
			return nil, nil, fmt.Errorf("%s has the database of another journal, which would not fit the imported one: "+
				"import into a new data directory, or move %s away", c.Data, sql)
		}
	}
	log := NewLog(os.Stderr, "warn", "auto")
	key, err := deployment.StorageKey(ctx, c.Data, &c.Keys)
	if err != nil {
		return nil, nil, err
	}
	s, err := deployment.StartNATS(embedded.Config{Dir: c.Data, Listen: "127.0.0.1:0", Synced: true, Key: key, Log: log}, c.SubjectPrefix)
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

// restore writes the events; an earlier run of the same import is continued.
func (c *Import) restore(ctx context.Context, nc *nats.Conn, checked *export.Checked) error {
	cfg := journal.Config{Subjects: c.Subjects(), Partitions: checked.Header.Partitions}
	j, err := journal.OpenImporter(ctx, nc, cfg, checked.Sum)
	if err != nil {
		return err
	}
	bar := NewProgress(int(checked.Header.Events()), "events imported", "events")
	defer bar.End()
	if err := export.Restore(ctx, c.File, checked, j, bar.Step); err != nil {
		return err
	}
	if err := rearm(ctx, nc, cfg.Subjects, j.Journal); err != nil {
		return err
	}
	return j.Finish(ctx)
}

// rearm sets the timers of open tasks, reminders and claims, because an export has no timers.
func rearm(ctx context.Context, nc *nats.Conn, s natsio.Subjects, j *journal.Journal) error {
	timers, err := coordination.OpenTimers(ctx, nc, s, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	var failed error
	for _, pattern := range reactors.Timed {
		err := history.New(j, nil, 0).EachLast(ctx, pattern, func(rec events.Record) {
			if failed == nil {
				_, failed = reactors.Rearm(ctx, timers, &rec)
			}
		})
		failed = errors.Join(failed, err)
	}
	return failed
}
