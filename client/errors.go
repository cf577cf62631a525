package client

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Error is an answer of the engine that is an error. Compare it with errors.Is to the
// sentinels below, or take its Code with errors.As.
type Error struct {
	Kind    string          `json:"kind"`    // one word for the status: conflict, rejected, …
	Code    string          `json:"code"`    // dotted name: state.conflict
	Status  int             `json:"status"`  // as in HTTP: 409
	Message string          `json:"message"` // one sentence for people
	Details json.RawMessage `json:"details,omitempty"`

	cause error
}

// Unwrap is why there was no answer: the end of a context, for one.
func (e *Error) Unwrap() error { return e.cause }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Is compares by Code if target has one, else by Kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	if !ok {
		return false
	}
	if t.Code != "" {
		return t.Code == e.Code
	}
	return t.Kind == e.Kind
}

// The kinds of errors.
var (
	ErrInvalid     = &Error{Kind: "invalid", Status: 400, Message: "malformed name, body or value"}
	ErrForbidden   = &Error{Kind: "forbidden", Status: 403, Message: "not granted"}
	ErrNotFound    = &Error{Kind: "not_found", Status: 404, Message: "no such aggregate, key or query"}
	ErrConflict    = &Error{Kind: "conflict", Status: 409, Message: "version, fence, claim or requirement lost"}
	ErrTooLarge    = &Error{Kind: "too_large", Status: 413, Message: "over a limit"}
	ErrRejected    = &Error{Kind: "rejected", Status: 422, Message: "a rule does not allow it in this state"}
	ErrOverloaded  = &Error{Kind: "overloaded", Status: 429, Message: "too much at once"}
	ErrUnavailable = &Error{Kind: "unavailable", Status: 503, Message: "outcome unknown, or not possible now"}
)

// The codes that programs meet in normal work.
var (
	ErrStateConflict = &Error{Kind: "conflict", Code: "state.conflict", Status: 409}
	ErrFenced        = &Error{Kind: "conflict", Code: "task.fenced", Status: 409}
	ErrClaimHeld     = &Error{Kind: "conflict", Code: "claim.held", Status: 409}
	ErrClaimFenced   = &Error{Kind: "conflict", Code: "claim.fenced", Status: 409}
	ErrRequireFailed = &Error{Kind: "conflict", Code: "require.failed", Status: 409}
	ErrNoTask        = &Error{Kind: "not_found", Code: "task.none", Status: 404}
)

// parseError reads the error of an answer; text is the header that every error carries.
func parseError(body []byte, text string) *Error {
	var answer struct {
		Error *Error `json:"error"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Error == nil {
		return &Error{Kind: "internal", Code: "answer.invalid", Status: 500, Message: fmt.Sprintf("the answer is no error that is known: %.200s", text)}
	}
	return answer.Error
}

// again says whether the same request may be sent again, and after which time at least.
func (e *Error) again() (after time.Duration, ok bool) {
	var details struct {
		RetryAfter int64 `json:"retry_after_ms"`
	}
	switch e.Kind {
	case ErrOverloaded.Kind, ErrUnavailable.Kind:
		if strings.HasSuffix(e.Code, ".off") { // the engine runs without it
			return 0, false
		}
		_ = json.Unmarshal(e.Details, &details) // without details: at once
		return time.Duration(details.RetryAfter) * time.Millisecond, true
	}
	return 0, false
}
