package domain

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// NormalJSON is the form in which equal JSON values have equal bytes: without white
// space, members ordered by name, one spelling of each string. Numbers are equal if
// they are spelled equally, as the engine stores them byte for byte: 1 is not 1.0.
// v is not changed; what is not JSON is returned as it is.
func NormalJSON(v []byte) []byte {
	form := jsontext.Value(bytes.Clone(v))
	err := form.Format(jsontext.ReorderRawObjects(true), jsontext.PreserveRawStrings(false),
		jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	if err != nil {
		return v
	}
	return form
}
