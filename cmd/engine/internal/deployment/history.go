package deployment

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/archive"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/internal/redact"
)

// ArchiveView is the name of the view that fills the archive.
const ArchiveView = "archive"

// Stores are the journal and the database of an engine, opened from outside.
type Stores struct {
	Journal *journal.Journal
	DB      *pg.DB        // nil: the engine runs without SQL
	Skew    time.Duration // how far the clocks of engines may differ; 0 = history.DefaultSkew
	Keys    *keys.Ring    // nil: the journal is not encrypted
	opener  history.Opener
}

// OpenWith makes journal and archive decrypt the events that they read.
func (s *Stores) OpenWith(o history.Opener) {
	s.opener = o
	s.Journal.OpenWith(o)
}

// OpenStores opens the journal of a running engine and the database that its
// status names; postgres, where it is given, is used instead. It decrypts with the
// master key of source.
func OpenStores(ctx context.Context, nc *nats.Conn, s *Status, postgres string, source *keys.Source) (*Stores, error) {
	j, err := journal.OpenExisting(ctx, nc, natsio.NewSubjects(s.Prefix))
	if err != nil {
		return nil, err
	}
	stores := &Stores{Journal: j}
	if err := stores.openKeys(ctx, nc, s.Data, source); err != nil {
		return nil, err
	}
	if stores.DB, err = openSQL(s, postgres); err != nil {
		return nil, err
	}
	return stores, nil
}

// OpenHistory opens the journal for reading, with the archive where there is
// one. Only a trimmed journal needs a running engine, whose status names the
// database; postgres, where it is given, is used instead. With a source of the master
// key it decrypts; with nil events stay as they are stored.
func (t *Target) OpenHistory(ctx context.Context, nc *nats.Conn, postgres string, source *keys.Source) (*Stores, error) {
	j, err := journal.OpenExisting(ctx, nc, t.Subjects())
	if err != nil {
		return nil, err
	}
	trimmed, err := trimmed(ctx, j)
	if err != nil {
		return nil, err
	}
	s, _, err := t.Status(ctx, nc)
	var db *pg.DB
	if err == nil {
		db, err = openSQL(&s, postgres)
	}
	if err != nil && trimmed {
		return nil, fmt.Errorf("the journal is trimmed, so its old events are read from the archive in SQL: %w", err)
	}
	stores := &Stores{Journal: j, DB: db}
	if source != nil {
		if err := stores.openKeys(ctx, nc, t.Data, source); err != nil {
			stores.Close()
			return nil, err
		}
	}
	return stores, nil
}

// trimmed reports whether any partition of a journal was trimmed.
func trimmed(ctx context.Context, j *journal.Journal) (bool, error) {
	for p := range j.Partitions() {
		if cut, _, err := j.Trimmed(ctx, p); err != nil || cut > 0 {
			return cut > 0, err
		}
	}
	return false, nil
}

// Close closes the database.
func (s *Stores) Close() {
	if s.DB != nil {
		s.DB.Close()
	}
}

// Published is a stored event as readers see it. What is no event stays.
func (s *Stores) Published(ctx context.Context, body []byte) ([]byte, error) {
	if s.opener == nil {
		return body, nil
	}
	ev, err := events.Decode(body)
	if err != nil {
		return body, nil
	}
	if _, _, sealed := ev.Sealed(); !sealed {
		return body, nil
	}
	if err := s.opener.Open(ctx, &ev); err != nil {
		return nil, err
	}
	return ev.Published(), nil
}

// Archive is the archive of the journal; nil without SQL.
func (s *Stores) Archive() *archive.Archive {
	if s.DB == nil {
		return nil
	}
	a := archive.New(s.DB, ArchiveView)
	a.OpenWith(s.opener)
	return a
}

// History is journal and archive as one sequence.
func (s *Stores) History() *history.History {
	if s.DB == nil {
		return history.New(s.Journal, nil, s.Skew)
	}
	return history.New(s.Journal, s.Archive(), s.Skew)
}

// openSQL opens the database that the status names, or the one at url; nil for
// an engine without SQL.
func openSQL(s *Status, url string) (*pg.DB, error) {
	switch {
	case s.Postgres.Mode == "off":
		return nil, nil
	case url != "":
	case s.Postgres.Mode != "managed" && strings.Contains(s.Postgres.URL, redact.Hidden):
		return nil, fmt.Errorf("the status does not show the password of the external Postgres: give its URL as --postgres or TIDEMARK_POSTGRES")
	default:
		url = s.Postgres.URL
	}
	return pg.OpenSchema(url, cmp.Or(s.Postgres.Schema, string(pg.Live))) // an earlier build names none
}
