package intake

import (
	"crypto/sha256"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// Metadata of a Watermill message.
const (
	metaSubject   = "subject" // as stored
	metaStream    = "stream"
	metaSequence  = "sequence"
	metaTime      = "time" // when it was stored
	metaDelivered = "delivered"
	metaMsgID     = "msg_id"     // Nats-Msg-Id
	metaCommandID = "command_id" // of a retried dead letter
	metaFirst     = "first_time" // when a retried dead letter was stored first
	metaBad       = "bad"        // why the message cannot be read at all
	metaTrace     = "traceparent"
	metaTraceMore = "tracestate"
)

// unmarshaler turns a delivery into a Watermill message. It never fails: for a
// message without a result Watermill's subscriber dereferences nil. What it
// cannot read it marks, and the router treats it as poison.
type unmarshaler struct{}

// Unmarshal implements Watermill's interface.
func (unmarshaler) Unmarshal(msg jetstream.Msg) (*message.Message, error) {
	m := message.NewMessage("", msg.Data())
	m.Metadata.Set(metaSubject, msg.Subject())
	header := msg.Headers()
	for name, key := range map[string]string{nats.MsgIdHdr: metaMsgID, headerCommandID: metaCommandID, headerTime: metaFirst} {
		if v := first(header, name); v != "" {
			m.Metadata.Set(key, v)
		}
	}
	if parent, state := trace(header); parent != "" {
		m.Metadata.Set(metaTrace, parent)
		m.Metadata.Set(metaTraceMore, state)
	}
	meta, err := msg.Metadata()
	if err != nil {
		m.Metadata.Set(metaBad, "not delivered by JetStream: "+err.Error())
		return m, nil
	}
	m.UUID = meta.Stream + "-" + strconv.FormatUint(meta.Sequence.Stream, 10)
	m.Metadata.Set(metaStream, meta.Stream)
	m.Metadata.Set(metaSequence, strconv.FormatUint(meta.Sequence.Stream, 10))
	m.Metadata.Set(metaTime, meta.Timestamp.UTC().Format(time.RFC3339Nano))
	m.Metadata.Set(metaDelivered, strconv.FormatUint(meta.NumDelivered, 10))
	return m, nil
}

func number(m message.Metadata, key string) uint64 {
	n, _ := strconv.ParseUint(m.Get(key), 10, 64) // absent and malformed are zero
	return n
}

// first is the first value of a header, whatever its case.
func first(h nats.Header, name string) string {
	if v := h.Get(name); v != "" {
		return v
	}
	return textproto.MIMEHeader(h).Get(name)
}

// derivedID is the command id of a message that came without one: a ULID of
// the time it was stored, whose random part is derived from its place, so that
// a redelivery is the same command.
func derivedID(stream string, seq uint64, stored time.Time) string {
	sum := sha256.Sum256([]byte(stream + "\x00" + strconv.FormatUint(seq, 10) + "\x00" + stored.UTC().Format(time.RFC3339Nano)))
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(stored)) // fails only beyond the year 10889
	_ = id.SetEntropy(sum[:10])            // fails only on another length
	return id.String()
}

// maxTraceState is how much of a tracestate is passed on (W3C Trace Context,
// section 3.3.1.1 asks for at least 512 characters).
const maxTraceState = 512

// trace is the W3C trace context of a message, or nothing. Clients write these
// headers, so only what has their form is passed on.
func trace(h nats.Header) (parent, state string) {
	parent = first(h, metaTrace)
	if traceID(parent) == "" {
		return "", ""
	}
	if state = first(h, metaTraceMore); len(state) > maxTraceState || strings.ContainsFunc(state, unprintable) {
		state = ""
	}
	return parent, state
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }

// traceID is the trace id inside a traceparent (00-<32 hex>-<16 hex>-<2 hex>);
// empty when it is none.
func traceID(parent string) string {
	parts := strings.Split(parent, "-")
	if len(parts) != 4 || len(parts[0]) != 2 || len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 ||
		strings.Trim(parent, "0123456789abcdef-") != "" || strings.Trim(parts[1], "0") == "" {
		return ""
	}
	return parts[1]
}
