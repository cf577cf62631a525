package intake

import (
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Metadata keys of a Watermill message. The trace keys are also the headers.
const (
	metaSubject     = "subject" // as stored
	metaStream      = "stream"
	metaSequence    = "sequence"
	metaTime        = "time" // when it was stored
	metaDelivered   = "delivered"
	metaMsgID       = "msg_id"     // Nats-Msg-Id
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
	header := msg.Headers()
	for name, key := range map[string]string{nats.MsgIdHdr: metaMsgID, headerTime: metaFirstTime} {
		if v := headerValue(header, name); v != "" {
			m.Metadata.Set(key, v)
		}
	}
	if parent, state := traceContext(header); parent != "" {
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

// headerValue returns a header's first value; names are compared without case.
func headerValue(h nats.Header, name string) string {
	if v := h.Get(name); v != "" {
		return v
	}
	for key, values := range h {
		if strings.EqualFold(key, name) && len(values) > 0 && values[0] != "" {
			return values[0]
		}
	}
	return ""
}

// maxTraceState is the longest tracestate that is propagated, in bytes (W3C
// Trace Context, section 3.3.1.1: at least 512 characters).
const maxTraceState = 512

// traceContext returns the W3C trace context of a message, empty if it is
// malformed.
func traceContext(h nats.Header) (parent, state string) {
	parent = headerValue(h, metaTraceParent)
	if traceID(parent) == "" {
		return "", ""
	}
	if state = headerValue(h, metaTraceState); len(state) > maxTraceState || strings.ContainsFunc(state, unprintable) {
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
