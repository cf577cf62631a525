package natsio

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// MinServer is the oldest version of nats-server that the engine works with.
// Older ones ignore properties of streams that the engine relies on: a 2.11
// server stores the messages of an atomic batch one by one.
const MinServer = "2.12"

// checkVersion fails if a server's version is less than MinServer.
func checkVersion(version string) error {
	var major, minor int
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n == 2 && (major > 2 || major == 2 && minor >= 12) {
		return nil
	}
	return fmt.Errorf("nats-server %s is too old: this engine needs %s or later; update the server", version, MinServer)
}

// dialer opens the connections of one nats.Conn. It reads the server's version
// before the client sends anything, so that no message reaches a server that is
// too old.
type dialer struct {
	tooOld atomic.Pointer[error]     // why the last server was refused
	conn   atomic.Pointer[nats.Conn] // nil during the first connect
	key    func() (string, error)    // public NKey; nil = none
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	if nc := d.conn.Load(); nc != nil && d.key != nil {
		// The client library reads the public key once. It calls Dial while it
		// holds the lock of its options.
		if key, err := d.key(); err == nil {
			nc.Opts.Nkey = key
		}
	}
	c, err := net.DialTimeout(network, address, connectTimeout)
	if err != nil {
		return nil, err
	}
	return &infoConn{Conn: c, d: d}, nil
}

// infoConn checks the version in the server's first line.
type infoConn struct {
	net.Conn
	d       *dialer
	first   []byte
	checked bool
}

var versionField = regexp.MustCompile(`"version":"([^"]*)"`)

// maxInfo bounds the first line, in bytes.
const maxInfo = 64 << 10

func (c *infoConn) Read(p []byte) (int, error) {
	if c.checked {
		if len(c.first) > 0 {
			n := copy(p, c.first)
			c.first = c.first[n:]
			return n, nil
		}
		return c.Conn.Read(p)
	}
	buf := make([]byte, 4096)
	for !c.checked {
		n, err := c.Conn.Read(buf)
		if err != nil {
			return 0, err
		}
		c.first = append(c.first, buf[:n]...)
		info := len(c.first) < 5 || bytes.HasPrefix(c.first, []byte("INFO ")) // else TLS or a web socket comes first
		c.checked = !info || bytes.IndexByte(c.first, '\n') >= 0 || len(c.first) > maxInfo
	}
	if m := versionField.FindSubmatch(c.first); m != nil && bytes.HasPrefix(c.first, []byte("INFO ")) {
		if err := checkVersion(string(m[1])); err != nil {
			err = fmt.Errorf("%s: %w", strconv.Quote(c.RemoteAddr().String()), err)
			c.d.tooOld.Store(&err)
			_ = c.Close() // a client that reconnects would leave it open
			return 0, err
		}
	}
	return c.Read(p)
}
