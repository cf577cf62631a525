package archive

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/projections/retention/export"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestExportAndImport exports a journal and imports it into another engine.
// Every event keeps its bytes and its revision; the rights and tokens are those
// of the new engine.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	quiet := []string{"--postgres", "off", "--lifecycle", "manual"}
	old := harness.Start(t, harness.Config{Args: append([]string{"--partitions", "3"}, quiet...)})
	c := old.Client(t)
	live(t, c)
	id := harness.NewID()
	first, err := c.Command(t.Context(), "commands.agent.a9.set", id, M{"key": "k", "value": 1})
	harness.Must(t, err)
	c.MustDo(t, "task.due.create", M{"kind": "work", "deadline": time.Now().Add(time.Hour)})

	zip := file(t, "journal.gz")
	if said := do(t, "export", "--data", old.Data, zip, "--json"); !strings.Contains(said, `"partitions":3`) {
		t.Errorf("export says %s", said)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(zip), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	digest, count := verified(t, old)
	before := answers(t, c)
	replayed := old.Run("replay", "--positions").Stdout
	refused(t, "the journal is not empty", "import", "--data", old.Data, zip)
	old.Stop()
	refused(t, "the journal is not empty", "import", "--data", old.Data, zip)

	data := filepath.Join(harness.TempDir(t), "data")
	do(t, "import", "--data", data, zip)
	refused(t, "the journal is not empty", "import", "--data", data, zip)
	e := harness.Start(t, harness.Config{Data: data, Args: quiet})
	c = e.Client(t)
	if d, n := verified(t, e); d != digest || n != count {
		t.Errorf("digest %s of %d events, was %s of %d", d, n, digest, count)
	}
	if now := e.Run("replay", "--positions").Stdout; now != replayed {
		t.Errorf("replay prints\n%s\nand printed\n%s", now, replayed)
	}
	same(t, "imported", answers(t, c), before)
	// A command that the exported journal contains is a duplicate; a new one is
	// accepted.
	again, err := c.Command(t.Context(), "commands.agent.a9.set", id, M{"key": "k", "value": 1})
	if err != nil || !again.Replayed || again.Revision != first.Revision || again.Version != first.Version {
		t.Errorf("sent again: %+v %v, was %+v", again, err, first)
	}
	if r := c.MustSet(t, "a9", "k", 2, nil); r.Version != 2 {
		t.Errorf("after it: %+v", r)
	}
	s, err := c.JS.Stream(t.Context(), "TIMERS")
	harness.Must(t, err)
	if msg, err := s.GetLastMsgForSubject(t.Context(), "timers.at.deadline.due"); err != nil || msg.Header.Get("Nats-Schedule") == "" {
		t.Errorf("the timer of a task: %v", err)
	}
}

// TestImportWhereAnEngineServes imports into a running engine whose journal is
// empty and receives no writes. Its views follow.
func TestImportWhereAnEngineServes(t *testing.T) {
	t.Parallel()
	quiet := []string{"--postgres", "off", "--lifecycle", "manual"}
	old := harness.Start(t, harness.Config{Args: quiet})
	c := old.Client(t)
	live(t, c)
	lines := file(t, "journal.jsonl")
	do(t, "export", "--data", old.Data, lines)
	digest, count := verified(t, old)
	before := answers(t, c)
	old.Stop()

	e := harness.Start(t, harness.Config{Args: quiet})
	do(t, "import", "--data", e.Data, lines)
	c = e.Client(t)
	c.CaughtUp(t)
	if d, n := verified(t, e); d != digest || n != count {
		t.Errorf("digest %s of %d events, was %s of %d", d, n, digest, count)
	}
	same(t, "imported", answers(t, c), before)
	c.MustSet(t, "a1", "new", 1, nil)

	other := harness.Start(t, harness.Config{Args: append([]string{"--partitions", "2"}, quiet...)})
	refused(t, "1 partition, the existing journal 2", "import", "--data", other.Data, lines)
}

// TestImportRefusesDamage: a damaged file imports nothing and creates no
// journal.
func TestImportRefusesDamage(t *testing.T) {
	t.Parallel()
	old := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--lifecycle", "manual"}})
	live(t, old.Client(t))
	whole := file(t, "journal.jsonl")
	do(t, "export", "--data", old.Data, whole)
	text, err := os.ReadFile(whole)
	harness.Must(t, err)
	lines := bytes.SplitAfter(text, []byte("\n"))
	for name, bad := range map[string][]byte{
		"cut":           text[:len(text)-len(lines[len(lines)-2])-10],
		"without end":   bytes.Join(lines[:len(lines)-2], nil),
		"one too few":   bytes.Join(append(append([][]byte{}, lines[:4]...), lines[5:]...), nil),
		"edited":        bytes.Replace(text, []byte(`"done"`), []byte(`"gone"`), 1),
		"something new": append(append([]byte{}, text...), lines[3]...),
		"empty":         nil,
		"another file":  []byte("hello\n"),
	} {
		path, data := file(t, "bad.jsonl"), filepath.Join(harness.TempDir(t), "data")
		harness.Must(t, os.WriteFile(path, bad, 0o600))
		r := harness.Run(t, "archive", "import", "--data", data, path)
		if r.Code != 1 || !strings.Contains(r.Stderr, "bad.jsonl") {
			t.Errorf("%s: exit code %d\n%s%s", name, r.Code, r.Stdout, r.Stderr)
		}
		if _, err := os.Stat(data); err == nil {
			t.Errorf("%s: something was written", name)
		}
	}
}

// TestImportIsContinued: a journal whose import was interrupted stays closed
// until the same file is imported completely.
func TestImportIsContinued(t *testing.T) {
	t.Parallel()
	old := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--lifecycle", "manual"}})
	live(t, old.Client(t))
	path := file(t, "journal.jsonl")
	do(t, "export", "--data", old.Data, path)
	digest, count := verified(t, old)
	sum := trailer(t, path)

	// The state that an import leaves when it is killed after two events.
	url := support.PlainNATS(t)
	nc, err := nats.Connect(url)
	harness.Must(t, err)
	t.Cleanup(nc.Close)
	r, err := journal.OpenImporter(t.Context(), nc, journal.Config{Partitions: 1}, sum)
	harness.Must(t, err)
	for rev, msg := range stored(t, old, 2) {
		harness.Must(t, r.AppendBatch(t.Context(), 0, uint64(rev), []journal.ImportedEvent{msg}))
	}
	if _, err := journal.Open(t.Context(), nc, journal.Config{}); err == nil || !strings.Contains(err.Error(), "not finished") {
		t.Errorf("a half imported journal is opened: %v", err)
	}
	if _, err := journal.OpenImporter(t.Context(), nc, journal.Config{Partitions: 1}, "another"); err == nil || !strings.Contains(err.Error(), "another file") {
		t.Errorf("another file is imported into it: %v", err)
	}
	refused(t, "not finished", "export", "--server", url, file(t, "none.gz"))
	do(t, "import", "--server", url, path)
	e := harness.Start(t, harness.Config{Args: []string{"--postgres", "off", "--nats", url}})
	if d, n := verified(t, e); d != digest || n != count {
		t.Errorf("digest %s of %d events, was %s of %d", d, n, digest, count)
	}
	e.Stop()
}

// TestImportTakesUpWhatWasBegun: an agent that was hydrating at the export is
// hydrated by the engine that imports it.
func TestImportTakesUpWhatWasBegun(t *testing.T) {
	t.Parallel()
	old := harness.Start(t, harness.Config{Args: []string{"--postgres", "off"}})
	c := old.Client(t)
	c.MustDo(t, "agent.a1.set", M{"key": "k", "value": 1})
	phase(t, c, "a1", "active")
	whole, begun := file(t, "whole.gz"), file(t, "begun.jsonl")
	do(t, "export", "--data", old.Data, whole)
	cut(t, whole, begun, "agent.hydration_started")

	data := filepath.Join(harness.TempDir(t), "data")
	do(t, "import", "--data", data, begun)
	e := harness.Start(t, harness.Config{Data: data, Args: []string{"--postgres", "off"}})
	phase(t, e.Client(t), "a1", "active")
}

// phase waits until an agent is in a phase.
func phase(t *testing.T, c *harness.Client, agent, want string) {
	t.Helper()
	harness.Eventually(t, "the phase", func() error {
		body, err := c.Query(t.Context(), "queries.agent."+agent+".lifecycle", nil)
		if err == nil && !strings.Contains(string(body), `"phase":"`+want+`"`) {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
}

// cut copies a file up to and with the first event of a type.
func cut(t *testing.T, from, to, typ string) {
	t.Helper()
	var all []history.Message
	f, err := os.Open(from)
	harness.Must(t, err)
	defer f.Close()
	u, err := export.Decompress(f)
	harness.Must(t, err)
	defer u.Close()
	r, err := export.NewReader(u)
	for err == nil && (len(all) == 0 || !bytes.Contains(all[len(all)-1].Body, []byte(typ))) {
		var ev export.Event
		if ev, err = r.Next(); err == nil {
			all = append(all, history.Message{Body: bytes.Clone(ev.Body), Record: events.Record{Name: ev.Stream, Revision: ev.Revision}})
		}
	}
	harness.Must(t, err)
	var text bytes.Buffer
	w, err := export.NewWriter(&text, export.Header{Journal: "cut", Partitions: 1, Heads: []uint64{uint64(len(all))}})
	for i := 0; err == nil && i < len(all); i++ {
		err = w.Event(&all[i])
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = os.WriteFile(to, text.Bytes(), 0o600)
	}
	harness.Must(t, err)
}

// trailer returns the digest on the last line of a file.
func trailer(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	harness.Must(t, err)
	_, sum, _ := strings.Cut(string(text), `"sha256":"`)
	return sum[:64]
}

// stored returns the first n events of an engine's journal.
func stored(t *testing.T, e *harness.Engine, n int) (all []journal.ImportedEvent) {
	t.Helper()
	nc, err := nats.Connect(e.NATSURL)
	harness.Must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc, harness.Patient)
	harness.Must(t, err)
	j, err := js.Stream(t.Context(), "EVENTS")
	for seq := uint64(1); err == nil && seq <= uint64(n); seq++ {
		var msg *jetstream.RawStreamMsg
		if msg, err = j.GetMsg(t.Context(), seq); err == nil {
			all = append(all, journal.ImportedEvent{Stream: events.AggregateName(strings.TrimPrefix(msg.Subject, "events.")), Body: msg.Data})
		}
	}
	harness.Must(t, err)
	return all
}
