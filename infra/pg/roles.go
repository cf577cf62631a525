package pg

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// Roles for clients and applications.
const (
	ReaderRole = "tidemark_reader" // reads every table of the schema agents
	OutboxRole = "tidemark_outbox" // inserts into agents.outbox
)

// grants run where a role exists and the engine may grant.
var grants = map[string]string{
	ReaderRole: `GRANT USAGE ON SCHEMA agents TO tidemark_reader;
		GRANT SELECT ON ALL TABLES IN SCHEMA agents TO tidemark_reader;
		ALTER DEFAULT PRIVILEGES IN SCHEMA agents GRANT SELECT ON TABLES TO tidemark_reader`,
	OutboxRole: `GRANT USAGE ON SCHEMA agents TO tidemark_outbox;
		GRANT INSERT ON agents.outbox TO tidemark_outbox`,
}

// Grant gives the roles for clients and applications their rights. It creates the
// roles where the engine's role may; elsewhere an administrator does, before or
// after.
func (d *DB) Grant(ctx context.Context, log *slog.Logger) error {
	return d.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(schemaLock)); err != nil {
			return fmt.Errorf("lock to grant rights: %w", err)
		}
		for role, sql := range grants {
			var exists, may bool
			err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1),
				(SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user)`, role).Scan(&exists, &may)
			if err != nil {
				return fmt.Errorf("look for the role %s: %w", role, err)
			}
			if !exists && !may {
				log.Debug("the role does not exist, and the engine may not create it", "role", role)
				continue
			}
			err = pgx.BeginFunc(ctx, tx, func(step pgx.Tx) error {
				if !exists {
					sql = `CREATE ROLE ` + role + ` NOLOGIN; ` + sql
				}
				_, err := step.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
				return err
			})
			if err != nil {
				log.Warn("rights cannot be granted to the role", "role", role, "error", err)
			}
		}
		return nil
	})
}
