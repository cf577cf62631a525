package intake

import (
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Metadata keys of a Watermill message. The trace keys are also the headers.
const (
	metaSubject     = "subject" // as stored
	metaStream      = "stream"
	metaSequence    = "sequence"
	metaTime        = "time" // when it was stored
	metaDelivered   = "delivered"
	metaMsgID       = "msg_id"     // Nats-Msg-Id
	metaTwoIDs      = "two_ids"    // why the command id is not clear
	metaFirstTime   = "first_time" // when a retried dead letter was first stored
	metaUnreadable  = "unreadable" // why the message is unreadable
	metaTraceParent = "traceparent"
	metaTraceState  = "tracestate"
)

// unmarshaler converts a delivery into a Watermill message. It never fails,
// because Watermill's subscriber dereferences nil after an error. It marks an
// unreadable message, and rejectUnreadable makes it a poison message.
type unmarshaler struct{}

// Unmarshal implements Watermill's interface.
func (unmarshaler) Unmarshal(msg jetstream.Msg) (*message.Message, error) {
	m := message.NewMessage("", msg.Data())
	m.Metadata.Set(metaSubject, msg.Subject())
	h := msg.Headers()
	id, found, err := natsio.HeaderValue(h, nats.MsgIdHdr)
	if err != nil {
		m.Metadata.Set(metaTwoIDs, domain.PublicText(err))
	} else if found {
		m.Metadata.Set(metaMsgID, id)
	}
	if first := header(h, headerTime); first != "" {
		m.Metadata.Set(metaFirstTime, first)
	}
	if t := natsio.Trace(h); t.Parent != "" {
		m.Metadata.Set(metaTraceParent, t.Parent)
		m.Metadata.Set(metaTraceState, t.State)
	}
	meta, err := msg.Metadata()
	if err != nil {
		m.Metadata.Set(metaUnreadable, "not delivered by JetStream: "+err.Error())
		return m, nil
	}
	m.UUID = meta.Stream + "-" + strconv.FormatUint(meta.Sequence.Stream, 10)
	m.Metadata.Set(metaStream, meta.Stream)
	m.Metadata.Set(metaSequence, strconv.FormatUint(meta.Sequence.Stream, 10))
	m.Metadata.Set(metaTime, meta.Timestamp.UTC().Format(time.RFC3339Nano))
	m.Metadata.Set(metaDelivered, strconv.FormatUint(meta.NumDelivered, 10))
	return m, nil
}

func metaNumber(m message.Metadata, key string) uint64 {
	n, _ := strconv.ParseUint(m.Get(key), 10, 64) // missing and malformed are 0
	return n
}

func metaTimestamp(m message.Metadata, key string) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, m.Get(key)) // missing and malformed are zero
	return at
}

// header returns the value of a header that the engine itself sets; "" when there are two.
func header(h nats.Header, name string) string {
	v, _, err := natsio.HeaderValue(h, name)
	if err != nil {
		return ""
	}
	return v
}
