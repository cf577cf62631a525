package domain

import (
	"errors"
	"strings"
	"testing"
)

// TestErrorsAreShort: an error quotes a part of what a client sent. It is an answer and a stored
// outcome, and must fit into a message of a server with the usual limit.
func TestErrorsAreShort(t *testing.T) {
	long := strings.Repeat("/é", 100_000)
	for what, body := range map[string]string{
		"an unknown name":     `{"` + long + `":1}`,
		"a name given twice":  `{"` + long + `":1,"` + long + `":1}`,
		"a place in a value":  `{"value":{"` + long + `":"\u0000"}}`,
		"no JSON after names": `{"` + long + `":`,
	} {
		var in struct {
			Value any `json:"value"`
		}
		var known *Error
		if err := DecodeBody([]byte(body), &in); !errors.As(err, &known) || len(known.Encode()) > 16<<10 {
			t.Errorf("%s: an error of %d bytes", what, len(known.Encode()))
		}
	}
}
