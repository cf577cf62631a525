package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/projections"
)

// archiveView is the view that fills the archive.
const archiveView = "archive"

// archiveBatching: nobody waits for the archive, so it takes large batches; it
// still ends no later than a second after the journal.
var archiveBatching = projections.Batching{Threshold: 1000, Interval: 250 * time.Millisecond, Max: 4000}

// startArchive starts the view that keeps every event in SQL for good.
func (e *engine) startArchive() error {
	return e.run(archiveView, archive.New(e.db, archiveView), projections.NewProgress(e.journal.Partitions()), archiveBatching)
}

// archiveOfCommands is where command ids are known beyond the duplicate window;
// nil without SQL.
func (e *engine) archiveOfCommands() commands.Archive {
	if e.db == nil {
		return nil
	}
	return archive.New(e.db, archiveView).Of(e.journal.ID())
}

// whole is the journal with all its past, trimmed or not.
func (e *engine) whole() history.Joined { return joined(e.journal, e.db) }

// source is the journal as a view reads it. SQL's tables need every event, also
// those that were trimmed when a power cut has taken the end of them; what is in
// KV and the feeds is in what a trim leaves.
func (e *engine) source(view string) history.Source {
	if view == "durable" {
		return history.Joined{Trimmable: e.shared, Archive: e.whole().Archive}
	}
	return e.shared
}

// history is the journal as commands and reactors read it.
func (e *engine) history() journal.Whole {
	return journal.NewWhole(e.journal, e.whole().Archive)
}

// joined reads SQL's archive, if there is SQL, where the journal is trimmed.
func joined(journal *journal.Journal, db *pg.DB) history.Joined {
	j := history.Joined{Trimmable: journal}
	if db != nil {
		j.Archive = archive.New(db, archiveView)
	}
	return j
}

// openWhole opens the journal with all its past from outside, and the database
// that it uses: nil without SQL, else to be closed. postgres overrules what
// status says.
func openWhole(ctx context.Context, nc *nats.Conn, s *status, postgres string) (history.Joined, *pg.DB, error) {
	journal, err := journal.OpenExisting(ctx, nc, natsio.NewSubjects(s.Prefix))
	if err != nil {
		return history.Joined{}, nil, err
	}
	db, err := openSQL(s, postgres)
	if err != nil {
		return history.Joined{}, nil, err
	}
	return joined(journal, db), db, nil
}

// openSQL opens the database that an engine's status names, or the one at url;
// nil when the engine is without SQL.
func openSQL(s *status, url string) (*pg.DB, error) {
	switch {
	case s.Postgres.Mode == "off":
		return nil, nil
	case url != "":
	case s.Postgres.Mode != "managed" && strings.Contains(s.Postgres.URL, "xxxxx"):
		return nil, fmt.Errorf("this needs the password of the external Postgres: give --postgres or TIDEMARK_POSTGRES")
	default:
		url = s.Postgres.URL
	}
	return pg.Open(url)
}
