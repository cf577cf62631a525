package export_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// empty is a journal without events.
type empty struct{ history.Source }

func (empty) ID() string                                { return "empty" }
func (empty) Partitions() int                           { return 1 }
func (empty) Head(context.Context, int) (uint64, error) { return 0, nil }

// An export removes what killed exports to the same file have left, and nothing else.
func TestPartialFilesAreRemoved(t *testing.T) {
	ended := exec.Command(os.Args[0], "-test.run=^$")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(pid int, rest string) string { return "." + rest + "." + strconv.Itoa(pid) + ".4711.partial" }
	dead := ended.Process.Pid
	stay := []string{file(os.Getpid(), "x.zst"), file(dead, "y.zst"), ".x.zst.note.partial", "x.zst.old"}
	for _, name := range append(slices.Clone(stay), file(dead, "x.zst")) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	saved, err := export.SaveFile(t.Context(), empty{}, filepath.Join(dir, "x.zst"), func() {})
	if err != nil || saved.Removed != 1 {
		t.Fatalf("%+v, %v", saved, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := append(slices.Clone(stay), "x.zst")
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
}

// An export to a device, such as /dev/stdout, or to a directory is refused: its file would
// take the device's place.
func TestOnlyFilesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe.zst")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, dir} {
		if _, err := export.SaveFile(t.Context(), empty{}, path, func() {}); err == nil || !strings.Contains(err.Error(), "standard output") {
			t.Errorf("an export to %s: %v", path, err)
		}
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe is now %v, %v", info, err)
	}
}
