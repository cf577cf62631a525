package local

import (
	"os"
	"strings"
	"sync"
	"syscall"
)

const (
	logBytes  = 5 << 20 // per file; with the previous one (".1") at most 10 MB
	tailBytes = 4 << 10
)

// logbook takes what postgres prints. It never fails a write: a full disk must
// not leave postgres with a broken pipe.
type logbook struct {
	mu     sync.Mutex
	path   string
	file   *os.File
	size   int64
	recent []byte // since mark
}

func openLogbook(path string) (*logbook, error) {
	l := &logbook{path: path}
	return l, l.reopen()
}

func (l *logbook) reopen() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return err
	}
	l.file, l.size = f, info.Size()
	return nil
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recent = append(l.recent, p...)
	if over := len(l.recent) - tailBytes; over > 0 {
		l.recent = append(l.recent[:0], l.recent[over:]...)
	}
	if l.file != nil && l.size+int64(len(p)) > logBytes {
		_ = l.file.Close()
		l.file = nil
		if os.Rename(l.path, l.path+".1") != nil {
			_ = os.Truncate(l.path, 0)
		}
		_ = l.reopen()
	}
	if l.file != nil {
		n, _ := l.file.Write(p)
		l.size += int64(n)
	}
	return len(p), nil
}

// mark begins a new run: tail speaks of nothing earlier.
func (l *logbook) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recent = l.recent[:0]
}

// tail is the last lines of what this run has printed.
func (l *logbook) tail(lines int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return lastLines(string(l.recent), lines)
}

func (l *logbook) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
