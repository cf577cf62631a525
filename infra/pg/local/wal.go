package local

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// DropWAL removes the files of the write-ahead log that a restart does not need: they
// have the content of rows that were removed since.
func (s *Server) DropWAL(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.SuperuserURL())
	if err != nil {
		return fmt.Errorf("remove old files of the write-ahead log: %w", err)
	}
	defer conn.Close(ctx)
	for _, sql := range []string{`SELECT pg_switch_wal()`, `CHECKPOINT`} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("remove old files of the write-ahead log: %w", err)
		}
	}
	return nil
}
