package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// converter is the superuser that exists while a cluster of an earlier build is
// converted.
const converter = "tidemark_convert"

// setUp logs in over TCP and creates what is missing: the engine's role, which is
// no superuser, its database, and the roles for clients. Other logins get bounds.
func (s *Server) setUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.loginURL(superuser, s.admin, "postgres"))
	var refused *pgconn.PgError
	if errors.As(err, &refused) && strings.HasPrefix(refused.Code, "28") { // invalid authorization
		if err := s.convert(ctx); err != nil {
			return fmt.Errorf("give the engine a role without all rights: %w", err)
		}
		conn, err = pgx.Connect(ctx, s.loginURL(superuser, s.admin, "postgres"))
	}
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `
		SELECT format('CREATE ROLE %I %s', name, options) FROM (SELECT $1::text, 'LOGIN PASSWORD ' || quote_literal($2::text) UNION SELECT unnest($4::text[]), 'NOLOGIN')
			AS wanted (name, options) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
		UNION ALL SELECT format('CREATE DATABASE %I OWNER %I', $1, $1) WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = $1)
		UNION ALL SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname = $3
		UNION ALL SELECT format('ALTER ROLE %I CONNECTION LIMIT %s', rolname, $5::int) FROM pg_roles
			WHERE rolcanlogin AND NOT rolsuper AND rolconnlimit < 0 AND rolname NOT IN ($1, $3)
		UNION ALL SELECT format('ALTER ROLE %I SET temp_file_limit = -1', $1)
		UNION ALL SELECT format('GRANT pg_use_reserved_connections TO %I', $1) FROM pg_roles WHERE rolname = 'pg_use_reserved_connections'`, role, s.password, converter, append([]string{"tidemark_reader", "tidemark_outbox"}, s.cfg.Roles...), loginLimit)
	if err != nil {
		return fmt.Errorf("read the roles: %w", err)
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read the roles: %w", err)
	}
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			what, _, _ := strings.Cut(sql, " PASSWORD")
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return s.setUpReader(ctx, conn)
}

// console is the role that runs the SQL of people. It has no rights but those that the engine
// grants it; its password is a new one at each start.
const console = "tidemark_console"

func (s *Server) setUpReader(ctx context.Context, conn *pgx.Conn) error {
	password := rand.Text()
	for _, sql := range []string{
		`DO $$ BEGIN CREATE ROLE ` + console + `; EXCEPTION WHEN duplicate_object THEN NULL; END $$`,
		`ALTER ROLE ` + console + ` LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 4 PASSWORD '` + password + `'`,
		`ALTER ROLE ` + console + ` SET default_transaction_read_only = on`,
		`ALTER ROLE ` + console + ` SET temp_file_limit = '256MB'`,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("the role %s: %w", console, err)
		}
	}
	s.console.Store(&password)
	return nil
}

// ConsoleURL reaches the database over the Unix socket as the role that runs the SQL of people.
func (s *Server) ConsoleURL() string {
	password := ""
	if p := s.console.Load(); p != nil {
		password = *p
	}
	return fmt.Sprintf("postgres://%s:%s@/%s?host=%s&port=%d&sslmode=disable", console, url.QueryEscape(password), role, url.QueryEscape(s.socketDir), s.port)
}

// owned are the statements that give everything in a database to the engine's
// role.
const owned = `
	SELECT format('ALTER DATABASE %I OWNER TO tidemark', current_database())
	UNION ALL SELECT format('ALTER SCHEMA %I OWNER TO tidemark', nspname) FROM pg_namespace
		WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
	UNION ALL SELECT format('ALTER TABLE %I.%I OWNER TO tidemark', nspname, relname)
		FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relkind IN ('r', 'p', 'v', 'm') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
	UNION ALL SELECT format('ALTER ROUTINE %s OWNER TO tidemark', p.oid::regprocedure)
		FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
		WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'`

// convert changes a cluster of an earlier build, whose only role is the superuser
// tidemark: that one becomes the superuser postgres, and the engine gets a new
// role with the old name and password that owns the database. It happens in one
// transaction, and again after a crash before its commit.
func (s *Server) convert(ctx context.Context) error {
	old, err := pgx.Connect(ctx, s.loginURL(role, s.password, "postgres"))
	if err != nil {
		return err
	}
	defer old.Close(ctx)
	for _, sql := range []string{
		`DO $$ BEGIN CREATE ROLE ` + converter + ` SUPERUSER LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$`,
		`ALTER ROLE ` + converter + ` PASSWORD '` + s.admin + `'`,
	} {
		if _, err := old.Exec(ctx, sql); err != nil {
			return err
		}
	}
	var exists bool
	if err := old.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, role).Scan(&exists); err != nil {
		return err
	}
	if !exists { // the earlier build was killed before it created it
		if _, err := old.Exec(ctx, `CREATE DATABASE `+role); err != nil {
			return err
		}
	}
	if err := old.Close(ctx); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.loginURL(converter, s.admin, role))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		statements := []string{
			`ALTER ROLE ` + role + ` RENAME TO ` + superuser, `ALTER ROLE ` + superuser + ` PASSWORD '` + s.admin + `'`,
			`CREATE ROLE ` + role + ` LOGIN PASSWORD '` + s.password + `'`,
		}
		rows, err := tx.Query(ctx, owned)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, sql := range append(statements, all...) {
			if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
		return nil
	})
}
