package harness

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// FreeAddress is a loopback address that belongs to the test until it ends.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(FreePorts(t, 1)[0]))
}

// FreePorts returns n ports that are free on the loopback address. They belong to the test
// until it ends, also while nothing listens on them: no other test gets them. They lie below
// those of outgoing connections: a client that reconnects must not get the port that a stopped
// server will use again.
func FreePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range 100 + n {
		port := 10_000 + rand.IntN(20_000)
		if !reserve(t, port) {
			continue
		}
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return nil
}

// reserve makes the file of a port, and reports whether there was none. A run that is killed
// leaves the files of its ports.
func reserve(t testing.TB, port int) bool {
	dir := filepath.Join(os.TempDir(), "tidemark-ports")
	Must(t, os.MkdirAll(dir, 0o777))
	file := filepath.Join(dir, strconv.Itoa(port))
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false
	}
	Must(t, err)
	t.Cleanup(func() { _ = os.Remove(file) })
	Must(t, f.Close())
	return true
}
