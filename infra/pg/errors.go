package pg

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

func HasSQLState(err error, state string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == state
}

// dataException is the class of what a cast says of a text that it cannot take.
const DataException = "22"
