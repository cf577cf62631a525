// Package natsio is the NATS connection kit that the adapters below it share:
// connections, subjects, stream names, server error codes, the publisher, batched
// reads and the wire form of errors. It knows no events and no views.
package natsio

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/internal/redact"
)

// Subjects builds the subjects of the wire contract with the configured prefix.
type Subjects struct{ prefix string }

// NewSubjects takes the configured subject_prefix, with or without a trailing
// dot; empty means no prefix.
func NewSubjects(prefix string) Subjects {
	if prefix != "" {
		prefix = strings.TrimSuffix(prefix, ".") + "."
	}
	return Subjects{prefix: prefix}
}

// Root returns the prefix followed by root, which ends with a dot: "events.".
func (s Subjects) Root(root string) string { return s.prefix + root }

// Connect opens a connection that reconnects without limit after an outage. It
// fails when the first connect fails.
func Connect(url, name string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	limited := NewLimitedLog(log)
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
			log.Info("NATS reconnected", "connection", name, "server", c.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			limited.Error("NATS asynchronous error", "connection", name, "subject", subject, "error", err)
		}),
	}
	nc, err := nats.Connect(url, append(base, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", redact.URL(url), err)
	}
	return nc, nil
}
