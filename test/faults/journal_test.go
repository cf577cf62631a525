package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestJournalLost: an engine never makes a new journal where it had one. It refuses
// commands while it runs and refuses to start, names what to do, and goes on with
// the journal when that is back, or without it when that is accepted.
func TestJournalLost(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Env: []string{"TIDEMARK_LIFECYCLE=manual"}})
	c := e.Client(t)
	set := func(key string) error {
		_, err := c.Set(t.Context(), "a", key, 1, nil)
		return err
	}
	harness.Must(t, set("first"))
	c.CaughtUp(t)
	refuses := func(what string, words ...string) {
		t.Helper()
		log := e.Refuses()
		for _, word := range append(words, "--accept-journal") {
			if !strings.Contains(log, word) {
				t.Errorf("%s: the log lacks %q:\n%s", what, word, log)
			}
		}
	}

	// A file of the stream, then the whole directory.
	e.Stop()
	events := harness.EventsDir(t, e.Data)
	meta, aside := filepath.Join(events, "meta.inf"), filepath.Join(harness.TempDir(t), "aside")
	harness.Must(t, os.Rename(meta, aside))
	refuses("without meta.inf", events)
	harness.Must(t, os.Rename(aside, meta))
	harness.Must(t, os.Rename(filepath.Join(e.Data, "nats"), aside))
	refuses("without the directory", "the data directory")
	note := filepath.Join(e.Data, "journal.json")
	if info, err := os.Stat(note); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	harness.Must(t, os.Rename(note, note+".aside"))
	refuses("only SQL knows the journal", "the SQL database")
	harness.Must(t, os.Rename(note+".aside", note))
	harness.Must(t, os.RemoveAll(filepath.Join(e.Data, "nats")))
	harness.Must(t, os.Rename(aside, filepath.Join(e.Data, "nats")))
	e.Restart()
	harness.Must(t, set("second"))
	c.CheckAll(t)

	// The stream under the running engine.
	harness.Must(t, e.OperatorJetStream(t).DeleteStream(t.Context(), "EVENTS"))
	harness.Eventually(t, "commands are refused, and the engine is not ready", func() error {
		no := harness.Refused(set("third"))
		if code, body := e.Ready(); no == nil || no.Status != 503 || no.Code != "journal.missing" || code != 503 || !strings.Contains(body, "journal.missing") {
			return fmt.Errorf("%v; /readyz is %d %s", no, code, body)
		}
		return nil
	})
	if _, err := c.JS.Stream(t.Context(), "EVENTS"); err == nil {
		t.Error("the stream was created again")
	}
	e.Stop()
	refuses("the stream was deleted", "Nothing was created")
	e.Launch("--accept-journal")
	e.Await()
	harness.Must(t, set("fourth"))
	c.CaughtUp(t)
	c.CheckAll(t)
	e.Verify()
	e.Stop()
	e.Restart() // without the flag
	harness.Must(t, set("fifth"))
	c.CheckAll(t)
	e.Verify()
}

// TestRelaxedJournalRollsBack: with relaxed durability a journal that has lost its
// newest events makes the views roll back by themselves.
func TestRelaxedJournalRollsBack(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--durability", "relaxed"}, Env: []string{"TIDEMARK_LIFECYCLE=manual"}})
	c := e.Client(t)
	for i := range 5 {
		c.MustSet(t, "a", fmt.Sprint("kept", i), i, nil)
	}
	c.CaughtUp(t)
	e.Stop()
	events, older := harness.EventsDir(t, e.Data), filepath.Join(harness.TempDir(t), "older")
	harness.Must(t, os.CopyFS(older, os.DirFS(events)))
	e.Restart()
	for i := range 5 {
		c.MustSet(t, "a", fmt.Sprint("lost", i), i, nil)
		c.MustSet(t, "a", fmt.Sprint("kept", i), "newer", nil)
	}
	c.CaughtUp(t)
	e.Stop()
	harness.Must(t, os.RemoveAll(events))
	harness.Must(t, os.CopyFS(events, os.DirFS(older)))
	e.Restart()
	if !strings.Contains(e.Log(), "the views roll back") {
		t.Error("the log does not say so")
	}
	c.MustSet(t, "a", "after", 1, nil)
	c.CaughtUp(t)
	c.CheckAll(t)
	e.Verify()
}
