package intake

import (
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"
)

// Headers of a dead letter. Its body is the message's. A retry sends headerTime
// with the command.
const (
	headerReason    = "Tidemark-Reason"
	headerSource    = "Tidemark-Source"  // "commands", "reactor.<name>" or "consumer.<stream>.<name>"
	headerSubject   = "Tidemark-Subject" // where the message was sent
	headerStream    = "Tidemark-Stream"  // where it was stored, at headerSequence
	headerTime      = "Tidemark-Time"    // when it was stored
	headerCommandID = "Tidemark-Command-Id"
	headerAccount   = "Tidemark-Account" // of the principal that sent it
)

// deadLetterPublisher is the publisher of Watermill's poison queue. It stores
// one dead letter per message, however often the message is delivered.
type deadLetterPublisher struct {
	in        *Intake
	source    string
	commandID string                                        // of a command that has an outcome
	answer    func(m *message.Message, reason string) error // publishes an outcome; nil = none
}

// Publish implements message.Publisher.
func (p *deadLetterPublisher) Publish(_ string, msgs ...*message.Message) error {
	for _, m := range msgs {
		if err := p.publish(m); err != nil {
			return err
		}
	}
	return nil
}

// Close implements message.Publisher; the intake owns the connection.
func (p *deadLetterPublisher) Close() error { return nil }

func (p *deadLetterPublisher) publish(m *message.Message) error {
	fullReason := m.Metadata.Get(middleware.ReasonForPoisonedKey)
	reason := firstLine(fullReason)
	account := p.in.streams.account(m.Metadata.Get(metaSubject))
	msg := &nats.Msg{Subject: p.in.streams.letterSubject(p.source, account), Data: m.Payload, Header: nats.Header{}}
	for name, value := range map[string]string{
		headerReason: reason, headerSource: p.source,
		headerSubject: p.in.streams.clientSubject(m.Metadata), headerStream: m.Metadata.Get(metaStream),
		headerSequence: m.Metadata.Get(metaSequence), headerTime: m.Metadata.Get(metaTime),
		metaTraceParent: m.Metadata.Get(metaTraceParent), metaTraceState: m.Metadata.Get(metaTraceState),
	} {
		if value != "" {
			msg.Header[name] = []string{value}
		}
	}
	if account != p.in.streams.dev {
		msg.Header[headerAccount] = []string{account}
	}
	if p.commandID != "" {
		msg.Header[headerCommandID] = []string{p.commandID}
	}
	if p.answer != nil {
		id, _ := commandID(m.Metadata)
		msg.Header[headerCommandID] = []string{id}
	}
	msgID := p.source + "-" + m.UUID + "-" + strconv.FormatUint(metaNumber(m.Metadata, metaSequence), 10) + "-" + m.Metadata.Get(metaTime)
	p.in.log.Error("storing a message as a dead letter", "source", p.source, "message", m.UUID,
		"subject", msg.Header.Get(headerSubject), "trace_id", traceOf(m.Metadata).ID(), "reason", fullReason)
	if err := p.in.storeLetter(m.Context(), p.source, msg, msgID); err != nil {
		return err
	}
	if p.answer == nil {
		return nil
	}
	return p.answer(m, reason)
}

// firstLine cuts a text for a header: to one line of at most 500 bytes.
func firstLine(text string) string {
	for i, r := range text {
		if r < ' ' || i >= 500 {
			return text[:i]
		}
	}
	return text
}
