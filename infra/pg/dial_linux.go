package pg

import (
	"strings"
	"syscall"
)

// limitUnacknowledged ends a TCP connection whose sent bytes are not acknowledged
// for 10 s (tcp(7), TCP_USER_TIMEOUT).
func limitUnacknowledged(network, _ string, c syscall.RawConn) (err error) {
	const tcpUserTimeout = 0x12
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	if control := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, 10_000)
	}); control != nil {
		return control
	}
	return err
}
