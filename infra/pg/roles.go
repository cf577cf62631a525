package pg

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// Roles for clients and applications of the schema agents.
const (
	ReaderRole = "tidemark_reader" // reads every table of the schema
	OutboxRole = "tidemark_outbox" // inserts into its outbox
)

// Roles are the roles for clients and applications of a schema. Roles belong to the
// whole server: a schema of another name than agents has its own, which have no rights
// on other schemas.
func Roles(schema string) (reader, outbox string) {
	if schema == string(Live) {
		return ReaderRole, OutboxRole
	}
	return ReaderRole + "_" + schema, OutboxRole + "_" + schema
}

type grant struct{ role, sql string }

// grants are the statements for each role, which run where it exists and the engine may
// grant. Their order is fixed: engines that create the roles at once wait for each other.
func (d *DB) grants() []grant {
	reader, outbox := Roles(d.schema)
	return []grant{
		{reader, `GRANT USAGE ON SCHEMA agents TO ` + reader + `;
			GRANT SELECT ON ALL TABLES IN SCHEMA agents TO ` + reader + `;
			ALTER DEFAULT PRIVILEGES IN SCHEMA agents GRANT SELECT ON TABLES TO ` + reader},
		{outbox, `GRANT USAGE ON SCHEMA agents TO ` + outbox + `;
			GRANT INSERT ON agents.outbox TO ` + outbox + `;
			GRANT USAGE ON SEQUENCE agents.outbox_id_seq TO ` + outbox},
	}
}

// Grant gives the roles for clients and applications their rights. It creates the
// roles where the engine's role may; elsewhere an administrator does, before or
// after.
func (d *DB) Grant(ctx context.Context, log *slog.Logger) error {
	return d.InTx(ctx, func(tx pgx.Tx) error {
		if err := d.LockSchema(ctx, tx); err != nil {
			return err
		}
		for _, g := range d.grants() {
			var exists, may bool
			err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1),
				(SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user)`, g.role).Scan(&exists, &may)
			if err != nil {
				return fmt.Errorf("look for the role %s: %w", g.role, err)
			}
			if !exists && !may {
				log.Debug("the role does not exist, and the engine may not create it", "role", g.role)
				continue
			}
			run := func(sql string) error {
				return pgx.BeginFunc(ctx, tx, func(step pgx.Tx) error {
					_, err := step.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
					return err
				})
			}
			if !exists {
				err = run(`CREATE ROLE ` + g.role + ` NOLOGIN`)
			}
			if err == nil || HasSQLState(err, duplicateObject) || HasSQLState(err, uniqueViolation) { // an engine of another database was first
				err = run(g.sql)
			}
			if err != nil {
				log.Warn("rights cannot be granted to the role", "role", g.role, "error", err)
			}
		}
		return nil
	})
}
