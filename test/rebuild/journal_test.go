package rebuild

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestJournalChanged changes the journal under the views: they halt and say
// what to do; it is done beside the engine, which then goes on.
func TestJournalChanged(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, manual)
	c := e.Client(t)
	fill(t, c, 5)
	c.Level(t, 20*time.Second)
	e.Stop()
	streams, backup := filepath.Join(e.Data, "nats"), filepath.Join(harness.Room(t), "backup")
	copyTree(t, streams, backup)
	e.Restart()
	for i := range 6 {
		c.MustSet(t, "a", fmt.Sprint("later", i), i, nil)
	}
	c.Level(t, 20*time.Second)
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
		t.Errorf("a rebuild that nobody allowed ended with %d: %s%s", r.Code, r.Stdout, r.Stderr)
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

// halted waits until a view is halted for a reason, and says what to do.
func halted(t *testing.T, c *harness.Client, view, why string) {
	t.Helper()
	harness.Within(t, 60*time.Second, view+" is halted", func() error {
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
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// eventsOf is the directory of the stream EVENTS.
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
	if err != nil {
		t.Fatal(err)
	}
	return found
}
