package pg

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// HasSQLState reports whether PostgreSQL returned this SQLSTATE.
func HasSQLState(err error, state string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == state
}

// DataException is the SQLSTATE class of a failed cast, such as text that is not
// JSON.
const DataException = "22"

// SQLSTATEs that the engine acts on.
const (
	readOnly     = "25006" // read_only_sql_transaction: after a failover
	notPermitted = "42501" // insufficient_privilege

	duplicateObject = "42710"
	uniqueViolation = "23505"
)
