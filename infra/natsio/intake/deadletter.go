package intake

import (
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of a dead letter. Its body is the message's.
const (
	headerReason    = "Tidemark-Reason"
	headerSource    = "Tidemark-Source"  // "commands", or "reactor.<name>"
	headerSubject   = "Tidemark-Subject" // that it was sent to
	headerStream    = "Tidemark-Stream"  // that it was stored in, at headerSequence
	headerTime      = "Tidemark-Time"    // when it was stored
	headerCommandID = "Tidemark-Command-Id"
	// A retry sends the last two with the command.
)

// letterBox is where Watermill's poison queue publishes: it stores one letter
// for each message, however often that is delivered.
type letterBox struct {
	in     *Intake
	source string
	tell   func(m *message.Message, reason string) error // whoever waits for an answer; nil = nobody does
}

// Publish implements message.Publisher.
func (l *letterBox) Publish(subject string, msgs ...*message.Message) error {
	for _, m := range msgs {
		if err := l.store(subject, m); err != nil {
			return err
		}
	}
	return nil
}

// Close implements message.Publisher; the connection is the intake's.
func (l *letterBox) Close() error { return nil }

func (l *letterBox) store(subject string, m *message.Message) error {
	whole := m.Metadata.Get(middleware.ReasonForPoisonedKey)
	reason := brief(whole)
	msg := &nats.Msg{Subject: subject, Data: m.Payload, Header: nats.Header{}}
	for name, value := range map[string]string{
		headerReason: reason, headerSource: l.source,
		headerSubject: l.in.streams.subject(m.Metadata), headerStream: m.Metadata.Get(metaStream),
		headerSequence: m.Metadata.Get(metaSequence), headerTime: m.Metadata.Get(metaTime),
		metaTrace: m.Metadata.Get(metaTrace), metaTraceMore: m.Metadata.Get(metaTraceMore),
	} {
		if value != "" {
			msg.Header[name] = []string{value}
		}
	}
	if l.tell != nil {
		msg.Header[headerCommandID] = []string{brief(l.in.streams.commandID(m.Metadata))}
	}
	id := l.source + "-" + m.UUID + "-" + strconv.FormatUint(number(m.Metadata, metaSequence), 10) + "-" + m.Metadata.Get(metaTime)
	l.in.cfg.Log.Error("a message is set aside as a dead letter", "source", l.source, "message", m.UUID,
		"subject", msg.Header.Get(headerSubject), "trace_id", traceID(m.Metadata.Get(metaTrace)), "reason", whole)
	if err := l.in.publish(m.Context(), msg, DeadLettersStream, jetstream.WithMsgID(id)); err != nil {
		return err
	}
	if l.tell == nil {
		return nil
	}
	return l.tell(m, reason)
}
