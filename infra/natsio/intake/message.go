package intake

import (
	"strconv"
	"strings"
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
	id, _, err := natsio.HeaderValue(h, nats.MsgIdHdr)
	if err != nil {
		m.Metadata.Set(metaTwoIDs, domain.PublicText(err))
	} else if id != "" {
		m.Metadata.Set(metaMsgID, id)
	}
	if first := header(h, headerTime); first != "" {
		m.Metadata.Set(metaFirstTime, first)
	}
	if parent, state := traceContext(h); parent != "" {
		m.Metadata.Set(metaTraceParent, parent)
		m.Metadata.Set(metaTraceState, state)
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

// maxTraceState is the longest tracestate that is propagated, in bytes (W3C
// Trace Context, section 3.3.1.1: at least 512 characters).
const maxTraceState = 512

// traceContext returns the W3C trace context of a message, empty if it is
// malformed.
func traceContext(h nats.Header) (parent, state string) {
	parent = header(h, metaTraceParent)
	if traceID(parent) == "" {
		return "", ""
	}
	if state = header(h, metaTraceState); len(state) > maxTraceState || strings.ContainsFunc(state, unprintable) {
		state = ""
	}
	return parent, state
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }

// traceID returns the trace id of a traceparent (00-<32 hex>-<16 hex>-<2 hex>),
// empty if it is malformed.
func traceID(parent string) string {
	parts := strings.Split(parent, "-")
	if len(parts) != 4 || len(parts[0]) != 2 || len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 ||
		strings.Trim(parent, "0123456789abcdef-") != "" || strings.Trim(parts[1], "0") == "" {
		return ""
	}
	return parts[1]
}
