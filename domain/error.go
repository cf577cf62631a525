package domain

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Kind says what the caller can do about an error. The nine kinds and their
// HTTP-like codes are the wire contract's (section 2).
type Kind string

const (
	Invalid     Kind = "invalid"     // fix the request
	Forbidden   Kind = "forbidden"   // this actor may not do that
	NotFound    Kind = "not_found"   // no such aggregate, key or query
	Conflict    Kind = "conflict"    // expected_version or the reject strategy lost: reread
	TooLarge    Kind = "too_large"   // over a limit: shrink it
	Rejected    Kind = "rejected"    // a rule forbids it in this state
	Overloaded  Kind = "overloaded"  // wait details.retry_after_ms
	Unavailable Kind = "unavailable" // outcome unknown: send the same command id again
	Internal    Kind = "internal"    // a defect of the engine: report details.trace_id
)

// Status is the numeric code that travels with the kind.
func (k Kind) Status() int {
	switch k {
	case Invalid:
		return 400
	case Forbidden:
		return 403
	case NotFound:
		return 404
	case Conflict:
		return 409
	case TooLarge:
		return 413
	case Rejected:
		return 422
	case Overloaded:
		return 429
	case Unavailable:
		return 503
	}
	return 500
}

// Error is a refusal that a caller can act on.
type Error struct {
	Kind    Kind           // what the caller can do
	Code    string         // stable, dotted, for programs: "key.invalid"
	Message string         // for people; names the cause and the place
	Details map[string]any // optional facts, such as the current version
}

// Undecided reports whether the same command may be accepted when it is sent again: a store
// did not answer, there was no place for it, or others came first.
func (e *Error) Undecided() bool {
	return e.Kind == Unavailable || e.Kind == Overloaded || e.Code == "state.contended"
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%s): %s", e.Kind, e.Code, e.Message) }

// Errorf makes an Error with a formatted message.
func Errorf(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: shorten(fmt.Sprintf(format, args...))}
}

// quoted bounds the message of an error and its details, which may quote what a client sent: the
// error must fit into a message of any server.
const quoted = 2 << 10

func shorten(text string) string {
	if len(text) <= quoted {
		return text
	}
	return strings.ToValidUTF8(text[:quoted], "") + "…"
}

// With returns a copy of e that carries one more detail.
func (e *Error) With(name string, value any) *Error {
	c := *e
	c.Details = make(map[string]any, len(e.Details)+1)
	for k, v := range e.Details {
		c.Details[k] = v
	}
	if text, ok := value.(string); ok {
		value = shorten(text)
	}
	c.Details[name] = value
	return &c
}

// PublicText is the part of an error that clients may read: the message of an
// Error, else only that a store failed, because other errors may name servers,
// users and statements.
func PublicText(err error) string {
	var known *Error
	if errors.As(err, &known) {
		return known.Message
	}
	return "a store does not answer; the engine's status and log have the cause"
}

// Encode is the error as the wire contract writes it: {"error":{"kind","code",
// "status","message","details"?}}. Characters stay as they are, '<' included;
// bytes that are not UTF-8 are replaced.
func (e *Error) Encode() []byte {
	var body struct {
		Error struct {
			Kind    Kind           `json:"kind"`
			Code    string         `json:"code"`
			Status  int            `json:"status"`
			Message string         `json:"message"`
			Details map[string]any `json:"details,omitempty"`
		} `json:"error"`
	}
	body.Error.Kind, body.Error.Code, body.Error.Status = e.Kind, e.Code, e.Kind.Status()
	body.Error.Message, body.Error.Details = e.Message, e.Details
	text, err := json.Marshal(body, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil { // a detail that is not JSON
		body.Error.Details = nil
		text, _ = json.Marshal(body, jsontext.AllowInvalidUTF8(true))
	}
	return text
}
