package local

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxSocketPath in bytes, without the final NUL: sockaddr_un holds 108 on Linux
// (unix(7)) and 104 on macOS.
const maxSocketPath = 103

// listen starts postgres on the configured port. Without one it uses the port of
// the last start, or a free one, and chooses again when another program takes
// the port before postgres does.
func (s *Server) listen(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if s.port = s.cfg.Port; s.port != 0 {
		return s.launch(ctx)
	}
	path := filepath.Join(s.dir, portName)
	text, _ := os.ReadFile(path)
	s.port, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	for range 3 {
		if s.port, err = freePort(s.port); err != nil {
			return err
		}
		if err = s.launch(ctx); err == nil {
			return os.WriteFile(path, fmt.Appendln(nil, s.port), 0o600)
		}
		if now, probeErr := freePort(s.port); probeErr != nil || now == s.port || s.pid() != 0 {
			return err // the port is not the reason
		}
	}
	return err
}

// freePort returns wanted if it is free, else another port that is.
func freePort(wanted int) (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(wanted))
	if err != nil {
		l, err = net.Listen("tcp4", "127.0.0.1:0")
	}
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// makeSocketDir creates the directory of the Unix socket, which only root and
// the account may enter: run in the directory, or one in /tmp if that path is
// too long or its file system has no sockets.
func (s *Server) makeSocketDir(context.Context) error {
	s.socketDir = filepath.Join(s.dir, runName)
	err := s.trySocketDir()
	if err == nil {
		return nil
	}
	s.socketDir = filepath.Join("/tmp", s.clusterName())
	if tmpErr := s.trySocketDir(); tmpErr != nil {
		return fmt.Errorf("directory for the Unix socket: %w; %w", err, tmpErr)
	}
	return nil
}

func (s *Server) trySocketDir() error {
	dir := s.socketDir
	// unix_socket_directories is a list: a comma or quote would need quoting.
	if len(filepath.Join(dir, ".s.PGSQL.65535")) > maxSocketPath || strings.ContainsAny(dir, `,"'`) {
		return fmt.Errorf("the path %s is too long or has a comma or quote", dir)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	// In /tmp another user may have created it.
	if owner := info.Sys().(*syscall.Stat_t).Uid; !info.IsDir() || owner != s.account.uid && owner != uint32(os.Geteuid()) {
		return fmt.Errorf("%s belongs to another user: remove it", dir)
	}
	if err := s.account.chown(dir); err != nil {
		return err
	}
	probe := filepath.Join(dir, ".probe")
	_ = os.Remove(probe) // of an engine that was killed
	l, err := net.Listen("unix", probe)
	if err != nil {
		return err
	}
	return l.Close()
}

func (s *Server) socketPath() string {
	return filepath.Join(s.socketDir, ".s.PGSQL."+strconv.Itoa(s.port))
}
