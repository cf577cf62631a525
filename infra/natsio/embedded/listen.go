package embedded

import (
	"fmt"
	"net"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

// parseListen splits host:port and checks that the port is free. Without protected
// it accepts loopback addresses only, because clients then need no password and send
// their data in the clear.
func parseListen(listen string, protected bool) (host string, port int, err error) {
	host, portText, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("--nats-listen %q: %w", listen, err)
	}
	if !protected && !IsLoopback(host) {
		return "", 0, fmt.Errorf("--nats-listen %q: the embedded server listens on loopback only unless clients authenticate and it has TLS "+
			"(--auth on, --tls-cert and --tls-key); or run your own NATS server and use --nats", listen)
	}
	number, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("--nats-listen %q: the port is not a number up to 65535", listen)
	}
	if number == 0 {
		return host, server.RANDOM_PORT, nil
	}
	l, err := net.Listen("tcp", listen) // the server would only log that the port is taken
	if err != nil {
		return "", 0, fmt.Errorf("--nats-listen: %w (is another engine or NATS server running? 127.0.0.1:0 selects a free port)", err)
	}
	return host, int(number), l.Close()
}

// IsLoopback reports whether only this machine reaches a listener on host.
func IsLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
