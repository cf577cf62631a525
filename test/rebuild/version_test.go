package rebuild

import (
	"errors"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// upgradeDurable: a start rebuilds a view whose rows an older version of the
// fold made.
func upgradeDurable(t *testing.T, e *harness.Engine, c *harness.Client) {
	sql := c.SQL(t)
	harness.Exec(t, sql, `UPDATE agents.checkpoints SET version = 0 WHERE view = 'durable'`)
	harness.Exec(t, sql, `UPDATE agents.state SET state_text = '"old"', state_value = '"old"'`) // as the old fold made them
	e.Stop()
	e.Restart()
	sql = c.SQL(t)
	harness.Eventually(t, "the view is of the present version", func() error {
		var version int
		err := sql.QueryRow(t.Context(), `SELECT version FROM agents.checkpoints WHERE view = 'durable'`).Scan(&version)
		if err == nil && version == 0 {
			return errors.New("it is not rebuilt")
		}
		return err
	})
	c.CheckAll(t)
}
