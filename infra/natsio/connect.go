// Package natsio is the NATS connection kit that the adapters below it share:
// connections, subjects, streams, server error codes, the publisher, batched
// reads and the wire form of errors. It knows no events and no views.
package natsio

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/internal/logs"
	"github.com/tidemark-engine/tidemark/internal/redact"
)

// A server that neither answers nor closes the connection is left within
// (maxPings+1) × pingInterval. A write to it blocks all others of its connection
// for at most writeTimeout.
const (
	pingInterval   = 1500 * time.Millisecond
	maxPings       = 2
	writeTimeout   = 3 * time.Second
	connectTimeout = 2 * time.Second // of one server; then the next one is tried
	reconnectWait  = 200 * time.Millisecond
)

// Connect opens a connection to one of the servers in url, a comma-separated
// list. Every connection of the engine and its tools is made here. After an
// outage, or while its credentials are refused, the connection is tried again
// without limit, with the credentials that its files hold then. Connect fails
// when the first connect fails, or when no server has at least version MinServer.
func Connect(url, name string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	limited := logs.NewLimited(log, logs.ByClients)
	d := &dialer{}
	var last atomic.Pointer[string] // the last failure that was logged
	changed := func(err error) bool {
		text := err.Error()
		before := last.Swap(&text)
		return before == nil || *before != text
	}
	base := []nats.Option{
		nats.Name(name),
		nats.Timeout(connectTimeout), nats.SetCustomDialer(d),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(maxPings), nats.FlusherTimeout(writeTimeout),
		nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("NATS connection lost", "connection", name, "error", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil && changed(err) {
				log.Warn("NATS reconnect failed; retrying", "connection", name, "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			last.Store(nil)
			if err := checkVersion(c.ConnectedServerVersion()); err != nil {
				log.Error("NATS connection left", "connection", name, "server", c.ConnectedUrlRedacted(), "error", err)
				time.AfterFunc(reconnectWait, func() { _ = c.ForceReconnect() }) // fails only when the connection is closed
				return
			}
			log.Info("NATS reconnected", "connection", name, "server", c.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			} else if !changed(err) {
				return // an authentication error of every attempt to reconnect
			}
			limited.Error("NATS asynchronous error", "connection", name, "subject", subject, "error", err)
		}),
		nats.ClosedHandler(func(c *nats.Conn) {
			if err := c.LastError(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) { // that is of a drain that a close has ended
				log.Error("NATS connection closed", "connection", name, "error", err)
			}
		}),
	}
	nc, err := nats.Connect(url, append(base, opts...)...)
	if err == nil {
		if err = checkVersion(nc.ConnectedServerVersion()); err != nil {
			nc.Close()
		}
	} else if old := d.tooOld.Load(); old != nil {
		err = *old
	}
	if err != nil {
		return nil, &ConnectError{connectText(redact.URL(url), err), err}
	}
	d.conn.Store(nc)
	return nc, nil
}

// ConnectError says in a sentence why there is no connection. It unwraps to the cause.
type ConnectError struct {
	text  string
	cause error
}

func (e *ConnectError) Error() string { return e.text }
func (e *ConnectError) Unwrap() error { return e.cause }

// RefusesClient reports whether an error of a connection says that the server does not accept its
// credentials.
func RefusesClient(err error) bool {
	return slices.ContainsFunc([]error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired},
		func(refused error) bool { return errors.Is(err, refused) })
}

// IsUnreachable reports whether an error of a connection says that no server answers.
func IsUnreachable(err error) bool {
	var name *net.DNSError
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || os.IsTimeout(err) || errors.As(err, &name)
}

func connectText(server string, err error) string {
	var name *net.DNSError
	switch {
	case errors.Is(err, nats.ErrNoServers):
		return "no NATS server answers at " + server
	case errors.As(err, &name):
		return fmt.Sprintf("connect to NATS at %s: the host name %s is not known here", server, name.Name)
	case errors.Is(err, nats.ErrTimeout), os.IsTimeout(err):
		return fmt.Sprintf("the NATS server at %s does not answer in time", server)
	case RefusesClient(err), errors.Is(err, nats.ErrNkeysNotSupported):
		return fmt.Sprintf("the NATS server at %s refuses this client: its credentials file, or user and password, is missing, of another server, or valid no longer", server)
	}
	text := fmt.Sprintf("connect to NATS at %s: %s", server, strings.ReplaceAll(err.Error(), "nats: ", ""))
	if cause := err.Error(); errors.Is(err, nats.ErrSecureConnRequired) || strings.Contains(cause, "x509") || strings.Contains(strings.ToLower(cause), "tls") {
		text += " (does the server need a CA or a client certificate?)"
	}
	return text
}
