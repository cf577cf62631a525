package natsio

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tidemark-engine/tidemark/domain"
)

// Refusal is an error as it goes over the wire.
type WireError struct {
	Error  *domain.Error
	Body   []byte      // {"error":{…}}
	Header nats.Header // of a micro error (ADR-32)
}

// EncodeError is the wire form of an error. One that is not a *domain.Error is
// our defect: it is logged under a trace id, and only that goes out.
func EncodeError(err error, log *slog.Logger) WireError {
	var known *domain.Error
	if !errors.As(err, &known) {
		trace := strings.TrimPrefix(nats.NewInbox(), nats.InboxPrefix)
		log.Error("internal error", "trace_id", trace, "error", err)
		known = domain.Errorf(domain.Internal, "internal", "an internal error; the engine's log has it under the trace id").
			With("trace_id", trace)
	}
	body, jerr := json.Marshal(map[string]any{"error": errorBody{
		Kind: string(known.Kind), Code: known.Code, Status: known.Kind.Status(), Message: known.Message, Details: known.Details,
	}})
	if jerr != nil {
		log.Error("an error could not be encoded", "code", known.Code, "error", jerr)
	}
	// A client sees a header as one line, whatever the message quotes.
	text := strings.NewReplacer("\r", " ", "\n", " ").Replace(known.Code + ": " + known.Message)
	return WireError{Error: known, Body: body, Header: nats.Header{
		micro.ErrorHeader:     []string{text},
		micro.ErrorCodeHeader: []string{strconv.Itoa(known.Kind.Status())},
	}}
}

type errorBody struct {
	Kind    string         `json:"kind"`
	Code    string         `json:"code"`
	Status  int            `json:"status"`
	Message string         `json:"message"`
	Details map[string]any `json:"details,omitempty"`
}
