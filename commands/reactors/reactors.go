// Package reactors holds the process managers: each takes an event and sends
// commands. An event may be delivered more than once and to several engines;
// the command ids are derived from the event, so each command takes effect
// once. Delivery, retries and dead letters belong to the intake.
package reactors

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Send executes one command and returns its receipt, or a *domain.Error.
type Send func(ctx context.Context, req commands.Request) (commands.Receipt, error)

// Reactor is one process manager.
type Reactor struct {
	Name  string   // part of its durable consumer's name and of its command ids: never change it
	Types []string // event types it handles
	// Subjects filter the events it receives: patterns below the journal's
	// root; empty = the whole journal.
	Subjects []string
	// React handles one event. After an error the event is delivered again.
	React func(ctx context.Context, rec events.Record, send Send) error
}

// CommandID is the id of the command that a reactor sends for an event. The
// same reactor and event always give the same id.
func CommandID(reactor string, rec *events.Record) string {
	return derivedID(rec.RecordedAt, reactor, string(rec.Name), rec.Digest)
}

// derivedID is a ULID of a time whose random part is a hash of parts: the same
// arguments give the same id.
func derivedID(at time.Time, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(at)) // fails only beyond the year 10889
	_ = id.SetEntropy(sum[:10])        // fails only on another length
	return id.String()
}

// IsRefusal reports whether err is a definite answer: a *domain.Error that no
// retry can cure.
func IsRefusal(err error) bool {
	var known *domain.Error
	if !errors.As(err, &known) {
		return false
	}
	return !known.Undecided() && known.Kind != domain.Internal
}

// ignoreRefusal drops a refusal: the aggregate has moved on, and the command
// has nothing left to do.
func ignoreRefusal(err error) error {
	if IsRefusal(err) {
		return nil
	}
	return err
}
