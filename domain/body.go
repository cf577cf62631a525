package domain

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
)

// DecodeBody decodes a request's JSON body; an empty body is {}. It fails with
// 400 json.invalid, body.unknown_field or body.invalid, naming the place; of a known one
// details.place is its JSON pointer.
func DecodeBody(body []byte, into any) error {
	if len(body) == 0 {
		body = []byte("{}")
	}
	if err := CheckJSON(body); err != nil {
		return err
	}
	return bodyError(json.Unmarshal(body, into, json.RejectUnknownMembers(true)))
}

// MissingField is the refusal of a body without a required member, or with null for
// it: 400 body.missing_field.
func MissingField(name string) *Error {
	return Errorf(Invalid, "body.missing_field", "%q is missing", name)
}

// bodyError maps a decoder's error to the contract's codes.
func bodyError(err error) error {
	if err == nil {
		return nil
	}
	var sem *json.SemanticError
	if !errors.As(err, &sem) {
		return Errorf(Invalid, "body.invalid", "the body cannot be read: %v", err)
	}
	place := string(sem.JSONPointer)
	if errors.Is(err, json.ErrUnknownName) {
		return Errorf(Invalid, "body.unknown_field", "unknown field at %q", place).With("place", place)
	}
	if place == "" {
		return Errorf(Invalid, "body.invalid", "the body must be a JSON object, not a JSON %s", sem.JSONKind)
	}
	why := "has the wrong type"
	if sem.Err != nil {
		why = strings.TrimPrefix(sem.Err.Error(), "strconv.ParseUint: ")
	}
	return Errorf(Invalid, "body.invalid", "%q (a JSON %s): %s", place, sem.JSONKind, why).With("place", place)
}
