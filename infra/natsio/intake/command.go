package intake

import (
	"errors"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/trace"
)

// storedCommand is a message of COMMANDS. It is the only command type of
// Watermill's command processor: names are dynamic, and the order of an
// aggregate spans its verbs. The processor's command handlers are the lanes.
type storedCommand struct {
	commands.Request
	kind        string // metrics label
	subject     string // where the client sent it
	account     string // that it came from; empty where clients have none
	seq         uint64 // in COMMANDS
	delivered   uint64 // deliveries so far, this one included
	refusal     error  // the message is no command
	beforeStart bool   // stored before this engine started, within clock skew: an earlier engine may have executed it
	trace       trace.Context
	began       time.Time
}

func traceOf(m message.Metadata) trace.Context {
	return trace.Context{Parent: m.Get(metaTraceParent), State: m.Get(metaTraceState)}
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

// Unmarshal never fails: a message that is no command has a refusal.
func (c commandMarshaler) Unmarshal(m *message.Message, v any) error {
	cmd := v.(*storedCommand)
	cmd.began = time.Now()
	cmd.subject, cmd.account = c.clientSubject(m.Metadata), c.streams.account(m.Metadata.Get(metaSubject))
	cmd.seq, cmd.delivered = metaNumber(m.Metadata, metaSequence), metaNumber(m.Metadata, metaDelivered)
	cmd.trace = traceOf(m.Metadata)
	cmd.Body = m.Payload
	cmd.MadeAt = firstStored(m.Metadata)
	cmd.beforeStart = metaTimestamp(m.Metadata, metaTime).Before(c.started)
	cmd.CommandID, cmd.refusal = commandID(m.Metadata)
	cmd.kind = "enqueue.unknown"
	var err error
	if cmd.Aggregate, cmd.ID, cmd.Verb, err = commands.ParseSubject(strings.TrimPrefix(cmd.subject, c.enqueueRoot)); err != nil {
		cmd.refusal = err
		return nil
	}
	if commands.Known(cmd.Aggregate, cmd.Verb) {
		cmd.kind = "enqueue." + cmd.Aggregate + "." + cmd.Verb
	}
	return nil
}

// clientSubject is the subject that the client sent a message to, before the
// stream's transform.
func (s *streams) clientSubject(m message.Metadata) string {
	stored := m.Get(metaSubject)
	if lane, ok := strings.CutPrefix(stored, s.laneRoot); ok {
		_, rest, _ := strings.Cut(lane, ".")
		if s.accountRoot != "" && strings.Count(rest, ".") == 3 {
			rest = rest[:strings.LastIndexByte(rest, '.')] // without the account
		}
		return s.enqueueRoot + rest
	}
	return stored
}

// commandID is the client's id, else q-<sequence>, so that a redelivery is the
// same command. An invalid id, an empty one too, is refused under that id.
func commandID(m message.Metadata) (id string, refusal error) {
	own := "q-" + m.Get(metaSequence)
	if two := m.Get(metaTwoIDs); two != "" {
		return own, domain.Errorf(domain.Invalid, "header.invalid", "%s", two)
	}
	id, sent := m[metaMsgID]
	if !sent {
		return own, nil
	}
	if err := domain.CheckID("command id", id); err != nil {
		return own, err
	}
	return id, nil
}

// maxRetryAge bounds how old a retried dead letter may say it is.
const maxRetryAge = 366 * 24 * time.Hour

// firstStored is when a command was stored; for a retried dead letter, when it
// was first stored. Any client may send that header, so it only makes the search
// for an earlier effect longer, up to maxRetryAge.
func firstStored(m message.Metadata) time.Time {
	at := metaTimestamp(m, metaTime)
	if first := metaTimestamp(m, metaFirstTime); first.Before(at) && first.After(at.Add(-maxRetryAge)) {
		return first
	}
	return at
}
