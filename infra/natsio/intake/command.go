package intake

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain"
)

// storedCommand is a message of COMMANDS. It is the only command type of
// Watermill's command processor: names are dynamic, and the order of an
// aggregate spans its verbs. The processor's command handlers are the lanes.
type storedCommand struct {
	commands.Request
	kind        string // metrics label
	subject     string // where the client sent it
	seq         uint64 // in COMMANDS
	delivered   uint64 // deliveries so far, this one included
	beforeStart bool   // stored before this engine started, within clock skew: an earlier engine may have executed it
	trace       trace
	began       time.Time
}

// trace is a W3C trace context.
type trace struct{ parent, state string }

func traceOf(m message.Metadata) trace {
	return trace{m.Get(metaTraceParent), m.Get(metaTraceState)}
}

// commandMarshaler decodes stored commands for Watermill.
type commandMarshaler struct {
	streams
	started time.Time // plus the clock skew
}

const commandName = "stored_command"

func (commandMarshaler) Name(any) string                         { return commandName }
func (commandMarshaler) NameFromMessage(*message.Message) string { return commandName }

// Marshal implements Watermill's interface. Only clients enqueue commands.
func (commandMarshaler) Marshal(any) (*message.Message, error) {
	return nil, errors.New("the intake sends no commands")
}

// Unmarshal returns a poison error for an unknown subject or an invalid id.
func (c commandMarshaler) Unmarshal(m *message.Message, v any) error {
	cmd := v.(*storedCommand)
	cmd.began = time.Now()
	cmd.subject, cmd.CommandID = c.clientSubject(m.Metadata), commandID(m.Metadata)
	cmd.seq, cmd.delivered = metaNumber(m.Metadata, metaSequence), metaNumber(m.Metadata, metaDelivered)
	cmd.trace = traceOf(m.Metadata)
	cmd.Body = m.Payload
	cmd.MadeAt = firstStored(m.Metadata)
	cmd.beforeStart = metaTimestamp(m.Metadata, metaTime).Before(c.started)
	tokens := strings.Split(strings.TrimPrefix(cmd.subject, c.enqueueRoot), ".")
	if len(tokens) != 3 {
		return &poisonError{fmt.Sprintf("%.256q is not enqueue.<aggregate>.<id>.<verb>", cmd.subject)}
	}
	cmd.Aggregate, cmd.ID, cmd.Verb = tokens[0], tokens[1], tokens[2]
	cmd.kind = "enqueue.unknown"
	if commands.Known(cmd.Aggregate, cmd.Verb) {
		cmd.kind = "enqueue." + cmd.Aggregate + "." + cmd.Verb
	}
	if err := domain.CheckID("command id", cmd.CommandID); err != nil {
		return &poisonError{err.Error()} // it has no outcomes.<command_id>
	}
	return nil
}

// clientSubject is the subject that the client sent a message to, before the
// stream's transform.
func (s *streams) clientSubject(m message.Metadata) string {
	stored := m.Get(metaSubject)
	if lane, ok := strings.CutPrefix(stored, s.laneRoot); ok {
		_, rest, _ := strings.Cut(lane, ".")
		return s.enqueueRoot + rest
	}
	return stored
}

// commandID is the client's id. Without one it is derived from the message's
// position, so that a redelivery is the same command.
func commandID(m message.Metadata) string {
	for _, key := range []string{metaCommandID, metaMsgID} {
		if id := m.Get(key); id != "" {
			return id
		}
	}
	stored := metaTimestamp(m, metaTime)
	if stored.IsZero() {
		return ""
	}
	seq := strconv.FormatUint(metaNumber(m, metaSequence), 10)
	return reactors.DerivedID(stored, m.Get(metaStream), seq, stored.UTC().Format(time.RFC3339Nano))
}

// firstStored is when a command was stored; for a retried dead letter, when it
// was first stored.
func firstStored(m message.Metadata) time.Time {
	at := metaTimestamp(m, metaTime)
	if first := metaTimestamp(m, metaFirstTime); !first.IsZero() && first.Before(at) {
		return first
	}
	return at
}
