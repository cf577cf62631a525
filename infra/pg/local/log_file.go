package local

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

const (
	maxLogBytes = 5 << 20 // per file; with the previous file (".1") 10 MB
	tailBytes   = 4 << 10
	tailLines   = 12 // of these in an error
)

// logFile stores what postgres prints in a file of bounded size. Write never
// fails: a full disk must not break postgres' pipe.
type logFile struct {
	path string

	mu     sync.Mutex
	file   *os.File
	size   int64
	recent []byte // since takeTail
}

func (s *Server) openLog(context.Context) (err error) {
	s.out, err = openLogFile(filepath.Join(s.dir, logName))
	return err
}

func openLogFile(path string) (*logFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	return &logFile{path: path, file: f, size: size}, err
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recent = append(l.recent, p...)
	l.recent = l.recent[max(0, len(l.recent)-tailBytes):]
	if l.size+int64(len(p)) > maxLogBytes {
		_ = l.file.Close()
		_ = os.Rename(l.path, l.path+".1")
		l.file, _ = os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		l.size = 0
	}
	n, _ := l.file.Write(p) // a nil file returns os.ErrInvalid
	l.size += int64(n)
	return len(p), nil
}

// takeTail returns the last lines since the previous call.
func (l *logFile) takeTail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := string(l.recent)
	l.recent = nil
	return lastLines(text)
}

func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
