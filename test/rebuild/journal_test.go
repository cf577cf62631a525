package rebuild

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestJournalChanged changes the journal under the views: they halt and name
// the remedy; after it the engine continues.
func TestJournalChanged(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, manual)
	c := e.Client(t)
	fill(t, c, 5)
	c.CaughtUp(t)
	e.Stop()
	streams, backup := filepath.Join(e.Data, "nats"), filepath.Join(harness.TempDir(t), "backup")
	copyTree(t, streams, backup)
	e.Restart()
	for i := range 6 {
		c.MustSet(t, "a", fmt.Sprint("later", i), i, nil)
	}
	c.CaughtUp(t)
	e.Stop()

	remove(t, streams)
	copyTree(t, backup, streams)
	e.Launch()
	halted(t, c, "durable", "the journal ends at")
	harness.WantRefusal(t, "a command on a journal that lost events", set(t, c), 503, "journal.rolled_back")
	e.Stop()

	grown := harness.New(t, harness.Config{Args: []string{"--postgres", "off"}, Env: manual.Env})
	copyTree(t, backup, filepath.Join(grown.Data, "nats"))
	grown.Restart()
	for i := range 12 { // the copy grows beyond where the view was
		grown.Client(t).MustSet(t, "b", fmt.Sprint("other", i%8), i, nil)
	}
	grown.Stop()
	remove(t, streams)
	copyTree(t, filepath.Join(grown.Data, "nats"), streams)
	e.Launch()
	halted(t, c, "durable", "was the journal restored from a backup?")
	harness.WantRefusal(t, "a command on the restored journal", set(t, c), 503, "journal.rolled_back")
	halted(t, c, "archive", "was the journal restored from a backup?")
	if r := e.Run("rebuild", "durable"); r.Code != 1 {
		t.Errorf("a rebuild without permission ended with %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	accept(t, e, c)

	e.Stop()
	remove(t, harness.EventsDir(t, streams))
	if log := e.Refuses(); !strings.Contains(log, "--accept-journal") {
		t.Error(log)
	}
	e.Launch("--accept-journal")
	e.Await()
	fill(t, c, 3)
	check(t, e, c)
}

func set(t *testing.T, c *harness.Client) error {
	t.Helper()
	_, err := c.Set(t.Context(), "b", "refused", 1, nil)
	return err
}

// halted waits until a view has halted for a reason and names the remedy.
func halted(t *testing.T, c *harness.Client, view, why string) {
	t.Helper()
	harness.Eventually(t, view+" is halted", func() error {
		s, err := c.Status(t.Context())
		if err != nil {
			return err
		}
		v := s.View(view)
		if v.State != "halted" || !strings.Contains(v.Reason, why) || !strings.Contains(v.Reason, "engine rebuild all --accept-journal") {
			return fmt.Errorf("%+v", v)
		}
		return nil
	})
}

func accept(t *testing.T, e *harness.Engine, c *harness.Client) {
	t.Helper()
	rebuildAll(t, e, "all", "--accept-journal")
	check(t, e, c)
}

// check checks that all views fit the journal, and that the archive of the other
// journal is kept.
func check(t *testing.T, e *harness.Engine, c *harness.Client) {
	t.Helper()
	e.Await()
	c.CheckAll(t)
	e.Verify()
	sql := c.SQL(t)
	var kept int
	err := sql.QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname LIKE 'agents_of_%' AND tablename = 'events'`).Scan(&kept)
	if err != nil || kept == 0 {
		t.Errorf("%d archives of other journals are kept (%v)", kept, err)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	harness.Must(t, os.CopyFS(to, os.DirFS(from)))
}

func remove(t *testing.T, path string) {
	t.Helper()
	harness.Must(t, os.RemoveAll(path))
}
