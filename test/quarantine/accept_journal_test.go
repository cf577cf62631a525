package quarantine

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestAnotherJournalIsAccepted: after a new journal is accepted, nothing of the
// old one stays quarantined, and an unreadable event of the new one is
// quarantined.
func TestAnotherJournalIsAccepted(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, manual)
	c := e.Client(t)
	c.MustSet(t, "a", "old", 1, nil)
	appendRaw(t, e, "agent.a.state.old", newer("old", 2))
	quarantined := map[string]int{"hot": 1, "durable": 1, "feeds": 1, "notifications": 1}
	states(t, c, quarantined)
	e.Stop()
	loseEvents(t, e)
	if log := e.Refuses(); !strings.Contains(log, "--accept-journal") {
		t.Error(log)
	}
	e.Launch("--accept-journal")
	e.Await()
	c.MustSet(t, "a", "old", 5, nil)
	c.MustSet(t, "a", "bad", 1, nil)
	appendRaw(t, e, "agent.a.state.bad", newer("bad", 2))
	states(t, c, quarantined)
	for _, consistency := range []string{"hot", "durable"} {
		reads(t, c, "a", "old", consistency, map[string]string{"hot": "5 from kv", "durable": "5 from sql"}[consistency])
	}
	reads(t, c, "a", "bad", "hot", "engine.older")
	reads(t, c, "a", "bad", "durable", "read.behind")
	if _, old := deadLetters(t, e)["durable:agent.a.state.old"]; old {
		t.Error("an aggregate of the old journal is still quarantined")
	}
	rebuild(t, e, "all")
	states(t, c, quarantined)
}

// loseEvents deletes the journal of a stopped engine.
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
	harness.Must(t, err)
}
