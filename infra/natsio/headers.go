package natsio

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/trace"
)

// PositionInterval is the number of events without a change to a target after
// which a view writes its position there, at the end of the batch. A restart
// folds at most this many events again.
const PositionInterval = 5000

// RevisionHeader is the message header that carries the revision of an event, for
// messages whose body does not, such as deletions.
const RevisionHeader = "Tidemark-Revision"

// HeaderValue returns the value of a header that a client sent. Names are compared
// without case and white space around them. found is false when there is none; two
// different values are 400 header.invalid.
func HeaderValue(h nats.Header, name string) (value string, found bool, err error) {
	for sent, values := range h {
		if len(sent) < len(name) || !strings.EqualFold(strings.TrimSpace(sent), name) {
			continue
		}
		for _, v := range values {
			if found && v != value {
				return "", false, domain.Errorf(domain.Invalid, "header.invalid", "header %s has several values: %.64q and %.64q", name, value, v)
			}
			value, found = v, true
		}
	}
	return value, found, nil
}

// Trace returns the W3C trace context of a request; empty if there is none or it is
// malformed.
func Trace(h nats.Header) trace.Context {
	parent, found, err := HeaderValue(h, "traceparent")
	if err != nil || !found {
		return trace.Context{}
	}
	state, _, err := HeaderValue(h, "tracestate")
	if err != nil {
		state = ""
	}
	return trace.Parse(strings.TrimSpace(parent), strings.TrimSpace(state))
}

// CommandID returns the command id in a request's header Nats-Msg-Id, empty when
// there is none. A header that cannot be read is refused, because an id in it would
// be lost: 400 header.invalid, or id.invalid for an empty one.
func CommandID(m *nats.Msg) (string, error) {
	if m.Header == nil && m.Size() > len(m.Subject)+len(m.Reply)+len(m.Data) {
		return "", domain.Errorf(domain.Invalid, "header.invalid",
			"the message's header cannot be read: it must be NATS/1.0 and lines of the form Name: value")
	}
	id, found, err := HeaderValue(m.Header, nats.MsgIdHdr)
	if err == nil && found {
		err = domain.CheckID("command id", id)
	}
	return id, err
}

// EndSpan ends the span of a request with its outcome, or with the code of its error.
func EndSpan(span trace.Span, outcome string, err error) {
	if !span.Recording() {
		return
	}
	var known *domain.Error
	switch {
	case errors.As(err, &known):
		span.Failed(known.Code)
	case err != nil:
		span.Failed("internal")
	default:
		span.Text("tidemark.outcome", outcome)
	}
	span.End()
}
