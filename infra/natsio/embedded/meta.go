package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/internal/files"
)

// metaSync syncs the files that describe streams and consumers, and the directories
// in which they lie. Without Synced the server syncs only messages: a power cut in
// the half minute until the kernel writes such a file would lose its stream.
type metaSync struct {
	dir   string
	end   chan struct{}
	once  sync.Once // closes end
	ended chan struct{}

	mu     sync.Mutex
	synced map[string]time.Time // modification time of each file and directory
}

// metaInterval is how often the server syncs messages, too.
const metaInterval = time.Second

func startMetaSync(dir string, failed func(error)) *metaSync {
	m := &metaSync{dir: dir, synced: map[string]time.Time{}, end: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		tick := time.NewTicker(metaInterval)
		defer tick.Stop()
		for {
			if err := m.sync(); err != nil {
				failed(err)
			}
			select {
			case <-tick.C:
			case <-m.end:
				return
			}
		}
	}()
	return m
}

func (m *metaSync) stop() {
	m.once.Do(func() { close(m.end) })
	<-m.ended
}

// metaFiles are relative to the directory of JetStream; the files first, so that a
// directory never names a file whose content is lost.
var metaFiles = []string{
	"*/streams/*/meta.*", "*/streams/*/obs/*/meta.*",
	"*/streams/*/obs/*", "*/streams/*/obs", "*/streams/*/msgs", "*/streams/*", "*/streams", "*", "",
}

// sync syncs what has changed since the last time.
func (m *metaSync) sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, pattern := range metaFiles {
		names, err := filepath.Glob(filepath.Join(m.dir, "jetstream", pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := m.syncOne(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // removed meanwhile
				errs = append(errs, fmt.Errorf("sync %s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (m *metaSync) syncOne(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if m.synced[name].Equal(info.ModTime()) {
		return nil
	}
	if err := files.Sync(name); err != nil {
		return err
	}
	m.synced[name] = info.ModTime()
	return nil
}

// SyncMeta syncs the descriptions of streams and consumers now. The server does so
// each second.
func (s *Server) SyncMeta() error {
	if s.meta == nil {
		return nil
	}
	return s.meta.sync()
}
