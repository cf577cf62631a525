package export_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// sealed is a file of these lines with a right digest, as a program that is not
// ours could write it.
func sealed(lines ...string) []byte {
	text := strings.Join(lines, "\n") + "\n"
	sum := sha256.Sum256([]byte(text))
	return fmt.Appendf(nil, `%s{"events":%d,"sha256":"%s"}`+"\n", text, len(lines)-1, hex.EncodeToString(sum[:]))
}

func header(partitions int, heads string) string {
	return fmt.Sprintf(`{"format":"tidemark-journal","version":1,"journal":"j","partitions":%d,"heads":[%s],"made_at":"2026-01-01T00:00:00Z"}`, partitions, heads)
}

func event(revision int, subject string) string {
	return fmt.Sprintf(`{"partition":0,"revision":%d,"subject":%q,"body":"AA=="}`, revision, subject)
}

// TestForeignFilesAreRefused: a file whose digest is right but that no journal
// could hold is refused with the line, before anything is written.
func TestForeignFilesAreRefused(t *testing.T) {
	set, err := os.ReadFile("../../../events/testdata/agent.state_set.1.json")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := "a"
	for events.Partition(elsewhere, 2) == 0 {
		elsewhere += "a"
	}
	one := func(subject string) []byte { return sealed(header(1, "1"), event(1, subject)) }
	for name, c := range map[string]struct {
		file []byte
		says string
	}{
		"65 partitions":      {sealed(header(65, strings.Repeat("0,", 64)+"0")), "line 1: the header names 65 partitions"},
		"no partition":       {sealed(header(0, "")), "line 1"},
		"fewer heads":        {sealed(header(2, "0")), "line 1"},
		"a subject of 70 kB": {one("events.agent." + strings.Repeat("a", 70<<10) + ".state.k"), "line 2"},
		"a control byte":     {one("events.agent.a\x01.state.k"), "line 2"},
		"an escape":          {one("events.agent.a.state.\x1b[2J"), "line 2"},
		"a direction mark":   {one("events.agent.a.state.\u202ek"), "line 2"},
		"a wildcard":         {one("events.agent.a.state.>"), "line 2"},
		"a space":            {one("events.agent.a b"), "line 2"},
		"an empty token":     {one("events.agent..state.k"), "line 2"},
		"another root":       {one("commands.agent.a1.set"), "line 2"},
		"an event under a name not its own": {sealed(header(1, "1"),
			`{"partition":0,"revision":1,"subject":"events.agent.b.state.k","event":`+strings.ReplaceAll(string(set), "\n", " ")+`}`), "line 2: the event is of agent."},
		"a revision twice":        {sealed(header(1, "2"), event(1, "events.agent.a.state.k"), event(1, "events.agent.a.state.k")), "line 3"},
		"another order":           {sealed(header(1, "2"), event(2, "events.agent.a.state.k"), event(1, "events.agent.a.state.k")), "line 2"},
		"a missing event":         {sealed(header(1, "2"), event(1, "events.agent.a.state.k")), "line 3"},
		"an event too many":       {sealed(header(1, "1"), event(1, "events.agent.a.state.k"), event(2, "events.agent.a.state.k")), "line 3"},
		"a partition not its own": {sealed(header(2, "1,0"), event(1, "events.agent."+elsewhere+".state.k")), "line 2"},
		"another format":          {sealed(`{"format":"tar","version":1}`), "not a journal export"},
		"a newer version":         {sealed(strings.Replace(header(1, "0"), `"version":1`, `"version":9`, 1)), "version 9"},
		"an unknown member":       {sealed(header(1, "1"), `{"partition":0,"revision":1,"subject":"events.a.b","body":"AA==","more":1}`), "line 2"},
	} {
		path := filepath.Join(t.TempDir(), "x.jsonl")
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := export.Check(path, func(events.AggregateName, string) string { return "" }, func() {})
		if err == nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 500 {
			t.Errorf("%s: %.600v, want %q", name, err, c.says)
		}
	}
}

// TestLargeEventsAreRefused: an event that the server does not take is refused
// with its line.
func TestLargeEventsAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.zst")
	big := append(append([]byte(`{"a":"`), bytes.Repeat([]byte("x"), 9<<20)...), `"}`...)
	if err := os.WriteFile(path, write(t, path, [][][]byte{{[]byte("{}"), big}}), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := export.Check(path, func(events.AggregateName, string) string { return "" }, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckSize(8 << 20); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("%v", err)
	}
	if err := c.CheckSize(16 << 20); err != nil {
		t.Error(err)
	}
}

// TestAStoppedImportSaysHowToGoOn: the error counts what the journal has, and
// the next run continues there.
func TestAStoppedImportSaysHowToGoOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.gz")
	many := make([][]byte, 600)
	for i := range many {
		many[i] = []byte("{}")
	}
	if err := os.WriteFile(path, write(t, path, [][][]byte{many}), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := export.Check(path, func(events.AggregateName, string) string { return "" }, func() {})
	if err != nil {
		t.Fatal(err)
	}
	j := &journalThatStops{batches: 2}
	var unfinished *export.Unfinished
	if err := export.Restore(t.Context(), path, c, j, func() {}); !errors.As(err, &unfinished) || !errors.Is(err, errStopped) ||
		unfinished.Stored != j.head || unfinished.Events != 600 || j.head == 0 {
		t.Fatalf("%+v, %v", j, err)
	}
	j.batches = 9
	if err := export.Restore(t.Context(), path, c, j, func() {}); err != nil || j.head != 600 {
		t.Errorf("%+v, %v", j, err)
	}
}

// journalThatStops takes a number of batches.
type journalThatStops struct {
	batches int
	head    uint64
}

var errStopped = errors.New("stopped")

func (j *journalThatStops) Head(context.Context, int) (uint64, error) { return j.head, nil }

func (j *journalThatStops) AppendBatch(_ context.Context, _ int, after uint64, batch []export.Stored) error {
	if j.batches--; j.batches < 0 || after != j.head {
		return errStopped
	}
	j.head += uint64(len(batch))
	return nil
}
