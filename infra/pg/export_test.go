package pg

import "context"

// GooseLock is the key of the advisory lock for migrations.
const GooseLock = gooseLock

// Limited reports whether a statement of the connection ends when its answer does not come.
func (c *Conn) Limited(ctx context.Context) bool {
	ctx = start(ctx, c.Conn.Conn(), "SELECT 1")
	defer end(ctx)
	_, limited := ctx.Deadline()
	return limited
}
