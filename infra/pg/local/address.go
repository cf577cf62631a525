package local

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// longestSocket in bytes, without the final NUL: sockaddr_un holds 108 on
// Linux (unix(7)) and 104 on macOS.
const longestSocket = 103

// rememberedPort is the one chosen by an earlier start, 0 if there is none or
// somebody else has it now.
func (s *Server) rememberedPort() int {
	text, err := os.ReadFile(filepath.Join(s.home, portName))
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || port <= 0 || port > 65535 || !isFree(port) {
		return 0
	}
	return port
}

func (s *Server) rememberPort() error {
	return writeWhole(filepath.Join(s.home, portName), strconv.Itoa(s.port)+"\n", 0o644, s.as)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func isFree(port int) bool {
	l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// chooseSockets makes a directory for the Unix socket that only the account
// (and root) may enter: run in the home, or a temporary one if that path is too
// long or its file system has no sockets.
func (s *Server) chooseSockets() error {
	note := filepath.Join(s.home, socketName)
	s.dropTemporary(note) // of an engine that was killed
	inside := filepath.Join(s.home, runName)
	if err := os.MkdirAll(inside, 0o700); err != nil {
		return err
	}
	if err := s.as.give(inside); err != nil {
		return err
	}
	if holdsSocket(inside) {
		s.sockets = inside
		return nil
	}
	for _, base := range []string{os.TempDir(), "/tmp"} {
		dir, err := os.MkdirTemp(base, temporary)
		if err != nil {
			continue
		}
		if err := s.as.give(dir); err == nil && holdsSocket(dir) {
			if ok, err := s.as.reaches(dir); err == nil && ok {
				s.sockets = dir
				return writeWhole(note, dir, 0o600, s.as)
			}
		}
		_ = os.Remove(dir)
	}
	return fmt.Errorf("no directory for a Unix socket: neither %s nor %s will do", inside, os.TempDir())
}

const temporary = "tidemark-pg-" // prefix of a temporary socket directory

// dropTemporary removes the socket directory that the note names, if it is one
// of ours and not a link that took its place.
func (s *Server) dropTemporary(note string) {
	text, err := os.ReadFile(note)
	if err != nil {
		return
	}
	dir := string(text)
	info, err := os.Lstat(dir)
	if err == nil && info.IsDir() && strings.HasPrefix(filepath.Base(dir), temporary) &&
		(s.as.cred == nil || info.Sys().(*syscall.Stat_t).Uid == s.as.cred.Uid) {
		_ = os.RemoveAll(dir)
	}
	_ = os.Remove(note)
}

// holdsSocket tries one; a comma or quote would need quoting in
// unix_socket_directories, which is a list.
func holdsSocket(dir string) bool {
	if len(filepath.Join(dir, ".s.PGSQL.65535")) > longestSocket || strings.ContainsAny(dir, `,"'`) {
		return false
	}
	l, err := net.Listen("unix", filepath.Join(dir, ".probe"))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// dropStaleSocket removes what a killed postgres left: its lock file holds a
// pid that may by now be someone else's, which postgres would take for a
// running server. Only called when no postgres of this cluster runs.
func (s *Server) dropStaleSocket() error {
	socket := filepath.Join(s.sockets, ".s.PGSQL."+strconv.Itoa(s.port))
	var errs []error
	for _, path := range []string{socket, socket + ".lock"} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
