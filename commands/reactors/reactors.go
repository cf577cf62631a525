// Package reactors holds the process managers: each takes an event and asks
// for commands. A reactor may see an event more than once and after a restart;
// the ids of its commands are derived from the event, so what it asks for takes
// effect once, whichever engine asks.
package reactors

import (
	"context"
	"crypto/sha256"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/events"
)

// Send carries one command out and returns its receipt or refusal
// (*domain.Error).
type Send func(ctx context.Context, req commands.Request) (commands.Receipt, error)

// Reactor is one process manager.
type Reactor struct {
	Name  string   // stable: its durable consumer and its command ids rest on it
	Types []string // the events it takes
	// Subjects narrow what is read for it: patterns behind the journal's root;
	// empty = the whole journal.
	Subjects []string
	// React handles one event. An error means: deliver it again.
	React func(ctx context.Context, rec events.Record, send Send) error
}

// CommandID is the id of the command that a reactor asks for because of an
// event: a ULID of the event's time whose random part is derived, so that the
// same event always asks with the same id.
func CommandID(reactor string, rec *events.Record) string {
	sum := sha256.Sum256([]byte(reactor + "\x00" + string(rec.Stream) + "\x00" + rec.Digest))
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(rec.RecordedAt)) // fails only beyond the year 10889
	_ = id.SetEntropy(sum[:10])                    // fails only on another length
	return id.String()
}
