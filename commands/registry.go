package commands

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Command is one request, read and bound to the aggregate that decides it.
type Command struct {
	CommandID string
	Aggregate string
	ID        string
	Key       string
	Stream    events.Stream // whose last event is compared
	Losers    events.Stream // where losing writes are kept; empty = nowhere
	Request   string        // fingerprint: the same command id must ask the same
	since     time.Time     // when it was made, where its id does not say; zero = unknown

	fold   func(ev *events.Event) (any, error)             // state from the last event alone
	decide func(state any, ask domain.Ask) domain.Decision // state is nil before the first event
	replay func(rec *events.Record) (past, error)          // what an earlier event says of its command
	// prepare, if set, does once what must be done before the events that were
	// decided are appended; the command is then decided again.
	prepare func(ctx context.Context, h *Handler) error

	// run is set instead of decide where a command reads more than the end of
	// its own aggregate.
	run func(ctx context.Context, h *Handler, cmd *Command) (Receipt, error)

	// Set instead of the functions above where a command leaves no event but a
	// message, see Messenger.
	subject string
	encode  func(commandID string, now time.Time) []byte
}

// past is what an event says of the command that caused it.
type past struct {
	request  string
	outcome  domain.Outcome
	version  uint64
	revision uint64
	refusal  *domain.Error
}

// Bounds are the limits a command is read under.
type Bounds struct {
	BodyBytes  int           // largest command body; default 512 KiB
	ValueBytes int           // largest value; default 256 KiB
	ClockSkew  time.Duration // how far ahead of the engine's clock a client may be; default 5 s
	Strategies Strategies    // which conflict strategy where none is said
}

// DefaultBounds are the contract's.
func DefaultBounds() Bounds {
	return Bounds{BodyBytes: 512 << 10, ValueBytes: 256 << 10, ClockSkew: 5 * time.Second}
}

type verb func(id string, body []byte, now time.Time, b Bounds) (Command, error)

// registry is the table from subject to reader: one line per verb.
var registry = map[string]map[string]verb{
	"agent": {
		"set": readAgentSet, "delete": readAgentDelete,
		"hydrate": readLifecycle("hydrate", events.HydrationStarted),
		"flush":   readLifecycle("flush", events.FlushStarted),
		"expire":  readLifecycle("expire", events.Expired),
		"retire":  readLifecycle("retire", events.Retired),

		"heartbeat": readHeartbeat,
		"fork":      readFork,
	},
	"task": {
		"create": readTaskCreate, "start": readTaskStart, "progress": readTaskProgress,
		"complete": readTaskComplete, "fail": readTaskFail, "cancel": readTaskCancel,
	},
	"session": {
		"open": readSessionOpen, "put": readSessionPut,
		"touch": readSessionPlain("touch", events.SessionTouched),
		"close": readSessionPlain("close", events.SessionClosed),
	},
	"config":  {"set": readConfig("set"), "unset": readConfig("unset")},
	"message": {"direct": readMessage("direct"), "broadcast": readMessage("broadcast"), "notify": readMessage("notify")},
}

// read turns a request into a command, or refuses it.
func read(req Request, now time.Time, b Bounds) (Command, error) {
	verbs, ok := registry[req.Aggregate]
	if !ok {
		return Command{}, domain.Errorf(domain.NotFound, "command.unknown", "there is no aggregate %.64q", req.Aggregate)
	}
	verb, ok := verbs[req.Verb]
	if !ok && req.Internal {
		verb, ok = internal[req.Aggregate][req.Verb]
	}
	if !ok {
		return Command{}, domain.Errorf(domain.NotFound, "command.unknown", "%s has no verb %.64q", req.Aggregate, req.Verb)
	}
	if len(req.Body) > b.BodyBytes && !req.Internal {
		return Command{}, domain.Errorf(domain.TooLarge, "body.too_large",
			"the body has %d bytes, at most %d are taken", len(req.Body), b.BodyBytes)
	}
	id, err := checkCommandID(req.CommandID, now, b.ClockSkew)
	if err != nil {
		return Command{}, err
	}
	cmd, err := verb(req.ID, req.Body, now, b)
	cmd.CommandID, cmd.since = id, req.MadeAt
	return cmd, err
}

// fingerprint condenses what was asked. Parts are length-prefixed by the
// separator never occurring in JSON text or names.
func fingerprint(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Known tells whether there is such a verb; for names in metrics.
func Known(aggregate, verb string) bool {
	_, ok := registry[aggregate][verb]
	return ok
}
