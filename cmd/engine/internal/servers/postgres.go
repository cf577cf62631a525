package servers

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/local"
	"github.com/tidemark-engine/tidemark/internal/redact"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// Postgres is the database: a managed server, an external one, or none.
type Postgres struct {
	Local *local.Server // nil = external or off
	URL   string        // as the status shows it; empty = off
	Risk  string        // of the way to an external one; empty = none
	DB    *pg.DB        // nil = off
	log   *slog.Logger

	broken atomic.Pointer[string] // why the database cannot be used
}

// Open opens the connection pool and migrates the schema. While the database is
// unavailable the migration is retried in the background, because commands and
// hot reads do not need SQL. It returns after the first attempt, and fails where
// no retry helps.
func (p *Postgres) Open(url, schema string, stops *lifecycle.Stops) error {
	switch {
	case p.Local != nil:
		url, p.URL = p.Local.SocketURL(), p.Local.URL()
	case url == "off":
		return nil
	default:
		p.URL = redact.URL(url)
		if p.Risk = pg.TransportRisk(url); p.Risk != "" {
			p.log.Warn(p.Risk)
		}
	}
	var err error
	if p.DB, err = pg.OpenSchema(url, schema); err != nil {
		return err
	}
	p.DB.WaitForMigrations()
	stops.Add(func(context.Context) { p.DB.Close() })
	first := make(chan error)
	stops.Add(lifecycle.InBackground(func(ctx context.Context) { p.keepSchema(ctx, first) }))
	var unsuitable *pg.Unsuitable
	if err := <-first; errors.As(err, &unsuitable) {
		return err
	}
	return nil
}

const (
	migrateTimeout = 30 * time.Second
	// schemaCheck is the pause between two checks that the tables are still there.
	schemaCheck = 2 * time.Second
)

// keepSchema migrates the schema, and makes again what is removed from it. It
// sends the result of the first attempt, and retries until it stops.
func (p *Postgres) keepSchema(ctx context.Context, first chan<- error) {
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = 5 * time.Second
	migrated, granted := false, false
	for attempt := 0; ctx.Err() == nil; attempt++ {
		limited, cancel := context.WithTimeout(ctx, migrateTimeout)
		err := p.ensureSchema(limited, &migrated, &granted)
		cancel()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if was := p.Problem(); err != nil && was == "" && ctx.Err() == nil {
			p.log.Warn("Postgres cannot be used; the views in SQL wait for it, commands and hot reads do not", "error", err)
		} else if err == nil && was != "" {
			p.log.Info("Postgres can be used again")
		}
		p.setProblem(err)
		if attempt == 0 {
			first <- err
		}
		if err != nil {
			_ = wait.Sleep(ctx, pause.NextBackOff())
			continue
		}
		pause.Reset()
		if attempt > 0 {
			_ = wait.Sleep(ctx, schemaCheck)
		}
	}
}

// ensureSchema migrates; once that is done it grants, and repairs what it finds
// damaged.
func (p *Postgres) ensureSchema(ctx context.Context, migrated, granted *bool) error {
	if !*migrated {
		err := p.DB.Migrate(ctx, p.log)
		*migrated = err == nil
		return err
	}
	damage, err := p.DB.Damage(ctx)
	if err != nil {
		return err
	}
	if len(damage) > 0 {
		p.log.Error("tables were removed or changed from outside; they are made again", "missing", strings.Join(damage, ", "))
		p.DB.WaitForMigrations() // the whole schema may be gone
		if err := p.DB.Migrate(ctx, p.log); err != nil {
			*migrated = false
			return err
		}
		if err := p.DB.Repair(ctx, "durable", p.log); err != nil {
			return err
		}
		*granted = false
	}
	if !*granted {
		err = p.DB.Grant(ctx, p.log)
		*granted = err == nil
	}
	return err
}

// SQLWait bounds the questions to SQL at the start. An engine starts without it.
const SQLWait = 5 * time.Second

// Positions is how far each view has the database, by partition.
func (p *Postgres) Positions(ctx context.Context) (map[string][]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, SQLWait)
	defer cancel()
	return p.DB.Positions(ctx)
}

// Problem is why the database cannot be used; empty = it can.
func (p *Postgres) Problem() string {
	if text := p.broken.Load(); text != nil {
		return *text
	}
	return ""
}

func (p *Postgres) setProblem(err error) {
	text := ""
	if err != nil {
		text = Reason(err)
	}
	p.broken.Store(&text)
}

// serverStop is what the managed server gets for a clean stop at least, whatever held up
// the steps before.
const serverStop = 3 * time.Second

// stop stops the managed server.
func (p *Postgres) stop(ctx context.Context) {
	if end, bounded := ctx.Deadline(); bounded && time.Until(end) < serverStop {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), serverStop)
		defer cancel()
	}
	if err := p.Local.Stop(ctx); err != nil {
		p.log.Error("Postgres did not stop cleanly", "error", err)
	}
}

// Status takes what the last probe said; empty = it answered.
func (p *Postgres) Status(problem string) deployment.PostgresStatus {
	if p.DB == nil {
		return deployment.PostgresStatus{Mode: "off", State: "off"}
	}
	s := deployment.PostgresStatus{URL: p.URL, Schema: p.DB.Schema(), Mode: "external", State: "up", Warning: p.Risk}
	if p.Local != nil {
		s.Mode, s.Version = "managed", p.Local.Version()
	}
	if problem == "" {
		problem = p.Problem()
	}
	if problem != "" {
		s.State, s.Reason = "away", problem
	}
	return s
}
