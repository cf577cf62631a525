package domain

import (
	"errors"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
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
		return Errorf(Invalid, "body.unknown_field", "unknown field at %q: %s", place, known(sem.GoType)).With("place", place)
	}
	if place == "" {
		return Errorf(Invalid, "body.invalid", "the body must be a JSON object, not %s", KindName(sem.JSONKind))
	}
	return wrongType(place, sem)
}

// known says which members an object has that is decoded into a type.
func known(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return "it is not known here"
	}
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "there are none"
	}
	return "there are " + strings.Join(names, ", ")
}

// WrongType maps a decoder's error about the value at a JSON pointer to 400 body.invalid.
func WrongType(place string, err error) error {
	if err == nil {
		return nil
	}
	var sem *json.SemanticError
	if !errors.As(err, &sem) {
		return Errorf(Invalid, "body.invalid", "%q cannot be read: %v", place, err).With("place", place)
	}
	return wrongType(place+string(sem.JSONPointer), sem)
}

func wrongType(place string, err *json.SemanticError) error {
	want := wanted(err.GoType)
	switch own := err.Err; {
	case own != nil && !errors.Is(own, strconv.ErrSyntax) && !errors.Is(own, strconv.ErrRange):
		return Errorf(Invalid, "body.invalid", "%q (%s): %v", place, KindName(err.JSONKind), own).With("place", place)
	case errors.Is(err, strconv.ErrRange):
		return Errorf(Invalid, "body.invalid", "%q is out of range: it must be %s", place, want).With("place", place)
	case want == "":
		return Errorf(Invalid, "body.invalid", "%q (%s): has the wrong type", place, KindName(err.JSONKind)).With("place", place)
	case err.JSONKind == '0' && len(err.JSONValue) > 0: // 1.0 and 1e2 are no whole numbers either
		return Errorf(Invalid, "body.invalid", "%q (a JSON number, %.64s): must be %s", place, err.JSONValue, want).With("place", place)
	}
	return NotA(want, place, err.JSONKind)
}

// NotA is 400 body.invalid for a value at a JSON pointer that is not what it must be.
func NotA(want, place string, kind jsontext.Kind) *Error {
	return Errorf(Invalid, "body.invalid", "%q (%s): must be %s", place, KindName(kind), want).With("place", place)
}

// KindName names a kind of JSON value in a message.
func KindName(kind jsontext.Kind) string {
	switch kind {
	case '{':
		return "a JSON object"
	case '[':
		return "a JSON array"
	}
	return "a JSON " + kind.String()
}

// wanted names the JSON that a Go type is decoded from; empty = it decodes itself.
func wanted(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return ""
	}
	switch t.Kind() {
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number of 0 or more, in digits"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number, in digits"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return ""
}
