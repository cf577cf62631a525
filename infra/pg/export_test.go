package pg

import "context"

// Limited reports whether a statement of the connection ends when its answer does not come.
func (c *Conn) Limited(ctx context.Context) bool {
	ctx = start(ctx, c.Conn.Conn(), "SELECT 1")
	defer end(ctx)
	_, limited := ctx.Deadline()
	return limited
}
