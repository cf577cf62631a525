package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/files"
)

// Saved is a file that was written.
type Saved struct {
	Header Header
	Events uint64
	Bytes  int64 // of the file; only of SaveFile
	// Damage is the first break of a digest chain in the history itself. The
	// file has the events as they are, and an import refuses it.
	Damage error
	// Removed is how many unfinished files of exports that were killed SaveFile has removed.
	Removed int
}

// SaveFile writes a history into a file. It writes under another name and
// renames the file when it is complete and on the disk, so that a partial file
// is never taken for a backup. SaveFile refuses to replace a device or a directory.
func SaveFile(ctx context.Context, src history.Source, path string, step func()) (_ *Saved, err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file that an export can replace: name a file; without a name the export goes to standard output", path)
	}
	removed, err := removePartial(path)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), partialName(path)+strconv.Itoa(os.Getpid())+".*.partial")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	saved, err := Save(ctx, src, f, path, step)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	info, err := os.Stat(f.Name())
	if err != nil {
		return nil, err
	}
	saved.Bytes, saved.Removed = info.Size(), removed
	if err := os.Rename(f.Name(), path); err != nil {
		return nil, err
	}
	return saved, files.Sync(filepath.Dir(path))
}

// partialName is how the names of the unfinished files of a path begin; the process that
// writes the file follows.
func partialName(path string) string { return "." + filepath.Base(path) + "." }

// removePartial removes the unfinished files of a path whose processes have ended.
func removePartial(path string) (removed int, err error) {
	dir := filepath.Dir(path)
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		rest, ours := strings.CutPrefix(file.Name(), partialName(path))
		writer, number, two := strings.Cut(strings.TrimSuffix(rest, ".partial"), ".")
		if !ours || !two || !strings.HasSuffix(rest, ".partial") {
			continue
		}
		pid, err := strconv.Atoi(writer)
		if _, notNumber := strconv.ParseUint(number, 10, 64); err != nil || notNumber != nil || alive(pid) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, file.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return removed, fmt.Errorf("remove the unfinished file of an export that was killed: %w", err)
		}
		removed++
	}
	return removed, nil
}

// alive reports whether a process runs.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release() //nolint:errcheck // it only frees a handle
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}

// Save writes a history up to the heads that it has at the beginning; name
// chooses the compression as in Pack. step is called after each event.
func Save(ctx context.Context, src history.Source, w io.Writer, name string, step func()) (*Saved, error) {
	h := Header{Journal: src.ID(), Partitions: src.Partitions(), MadeAt: time.Now().UTC()}
	for p := range h.Partitions {
		head, err := src.Head(ctx, p)
		if err != nil {
			return nil, err
		}
		h.Heads = append(h.Heads, head)
	}
	packed, err := Compress(w, name)
	if err != nil {
		return nil, err
	}
	file, err := NewWriter(packed, h)
	if err != nil {
		return nil, err
	}
	saved := &Saved{Header: h}
	for p, head := range h.Heads {
		damage, err := savePartition(ctx, src, p, head, file, step)
		if err != nil {
			return nil, err
		}
		if saved.Damage == nil {
			saved.Damage = damage
		}
	}
	saved.Events = file.Events()
	return saved, errors.Join(file.Close(), packed.Close())
}

func savePartition(ctx context.Context, src history.Source, p int, head uint64, file *Writer, step func()) (damage, err error) {
	if head == 0 {
		return nil, nil
	}
	cur, err := src.Read(ctx, p, 0)
	if err != nil {
		return nil, err
	}
	defer cur.Stop()
	chains := history.NewChains()
	for at := uint64(0); at < head; {
		select {
		case m, ok := <-cur.Messages():
			if !ok {
				return nil, fmt.Errorf("read partition %d: %w", p, cur.Err())
			}
			if m.Revision != at+1 {
				return nil, fmt.Errorf("revisions %d to %d of partition %d are missing: was the journal shortened?", at+1, m.Revision-1, p)
			}
			at = m.Revision
			if broken := chains.Follow(&m); damage == nil {
				damage = broken
			}
			if err := file.Event(&m); err != nil {
				return nil, err
			}
			step()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return damage, nil
}
