// Package natsio is everything that speaks NATS: the embedded server, the
// journal, its readers, the hot buckets and the service that commands and
// queries arrive at.
package natsio

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Subjects builds the subject of each root, behind the configured prefix.
type Subjects struct{ prefix string }

// NewSubjects takes the contract's subject_prefix, without its trailing dot;
// empty is the default.
func NewSubjects(prefix string) Subjects {
	if prefix != "" {
		prefix = strings.TrimSuffix(prefix, ".") + "."
	}
	return Subjects{prefix: prefix}
}

// Root is prefix + root, where root ends with a dot: "events.".
func (s Subjects) Root(root string) string { return s.prefix + root }

// Connect opens a connection that outlives outages: it reconnects for ever.
func Connect(url, name string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	base := []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.RetryOnFailedConnect(false),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("NATS connection lost", "connection", name, "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			log.Info("NATS connection is back", "connection", name, "server", c.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Error("NATS reports", "connection", name, "subject", subject, "error", err)
		}),
	}
	nc, err := nats.Connect(url, append(base, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", url, err)
	}
	return nc, nil
}
