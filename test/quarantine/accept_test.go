package quarantine

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// A journal that was recreated is accepted: nothing of the one before is held,
// and what cannot be read in this one is held and never passed by.
func TestAnotherJournalIsAccepted(t *testing.T) {
	e := harness.Start(t, manual)
	c := e.Client(t)
	c.MustSet(t, "a", "old", 1, nil)
	appendRaw(t, e, "agent.a.state.old", newer("old", 2))
	held := map[string]int{"hot": 1, "durable": 1, "feeds": 1}
	states(t, c, held)
	e.Stop()
	loseEvents(t, e)
	e.Launch()
	harness.Within(t, 30*time.Second, "the views halt", func() error {
		s, err := c.Status(t.Context())
		if err == nil && (s.View("durable").State != "halted" || s.View("hot").State != "halted") {
			err = fs.ErrExist
		}
		return err
	})
	c.MustSet(t, "a", "old", 5, nil)
	c.MustSet(t, "a", "bad", 1, nil)
	appendRaw(t, e, "agent.a.state.bad", newer("bad", 2))
	rebuild(t, e, "all", "--accept-journal")
	e.Await()
	states(t, c, held)
	for _, consistency := range []string{"hot", "durable"} {
		reads(t, c, "a", "old", consistency, map[string]string{"hot": "5 from kv", "durable": "5 from sql"}[consistency])
	}
	reads(t, c, "a", "bad", "hot", "engine.older")
	reads(t, c, "a", "bad", "durable", "read.behind")
	if _, old := letters(t, e)["durable:agent.a.state.old"]; old {
		t.Error("what was held of the journal before is still held")
	}
	rebuild(t, e, "all")
	states(t, c, held)
}

// loseEvents removes the journal of a stopped engine.
func loseEvents(t *testing.T, e *harness.Engine) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(e.Data, "nats"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "EVENTS" {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			return fs.SkipAll
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
