package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Reason is the text of an error as /readyz and the status show it: without the addresses
// and users of the servers behind, which their readers may not know. The log has all of it.
func Reason(err error) string {
	text := err.Error()
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		text = strings.Replace(text, connect.Error(), "Postgres is unavailable: "+WithoutAddresses(connect).Error(), 1)
	}
	var network *net.OpError
	if errors.As(err, &network) {
		text = strings.Replace(text, network.Error(), network.Op+": "+network.Err.Error(), 1)
	}
	return text
}

// WithoutAddresses reduces an error of the database to what holds no address, user
// or SQL: /readyz has readers who may not know them.
func WithoutAddresses(err error) error {
	var refused *pgconn.PgError
	var system syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return fmt.Errorf("the server refuses with SQLSTATE %s", refused.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.As(err, &system):
		return system
	}
	return errors.New("no connection")
}
