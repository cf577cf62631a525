package natsio

import (
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tidemark-engine/tidemark/domain"
)

// WireError is an error in the form of the wire contract.
type WireError struct {
	Error  *domain.Error
	Body   []byte      // {"error":{…}}
	Header nats.Header // micro service error headers (ADR-32)
}

// EncodeError returns the wire form of an error. An internal one, and one that is not a
// *domain.Error, is a defect of the engine: it is logged with a trace id, which the client
// receives in the details; of the latter it receives nothing else.
func EncodeError(err error, log *slog.Logger) WireError {
	var known *domain.Error
	if !errors.As(err, &known) {
		known = domain.Errorf(domain.Internal, "internal", "internal error: the engine's log has the cause under this trace id")
	}
	if known.Kind == domain.Internal && known.Details["trace_id"] == nil {
		trace := strings.TrimPrefix(nats.NewInbox(), nats.InboxPrefix)
		log.Error("internal error", "trace_id", trace, "error", err)
		known = known.With("trace_id", trace)
	}
	// A header is one line, but the message may quote line breaks of the client.
	text := strings.NewReplacer("\r", " ", "\n", " ").Replace(known.Code + ": " + known.Message)
	return WireError{Error: known, Body: known.Encode(), Header: nats.Header{
		micro.ErrorHeader:     []string{text},
		micro.ErrorCodeHeader: []string{strconv.Itoa(known.Kind.Status())},
	}}
}
