package rebuild

import (
	"errors"
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
	for i := range 12 { // it grows beyond where the view was
		c.MustSet(t, "b", fmt.Sprint("other", i%8), i, nil)
	}
	halted(t, c, "durable", "was the journal restored from a backup?")
	halted(t, c, "archive", "was the journal restored from a backup?")
	if r := e.Run("rebuild", "durable"); r.Code != 1 {
		t.Errorf("a rebuild without permission ended with %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	accept(t, e, c)

	e.Stop()
	remove(t, eventsOf(t, streams))
	e.Launch()
	for _, view := range []string{"durable", "hot", "feeds", "archive"} {
		halted(t, c, view, "journal")
	}
	fill(t, c, 3)
	accept(t, e, c)
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

// eventsOf returns the directory of the stream EVENTS.
func eventsOf(t *testing.T, root string) (found string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "EVENTS" {
			found = path
			return filepath.SkipAll
		}
		return err
	})
	if err == nil && found == "" {
		err = errors.New("there is no stream EVENTS")
	}
	harness.Must(t, err)
	return found
}
