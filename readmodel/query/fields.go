package query

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
)

// onlyFields refuses a member that the body has but this question does not
// take: 400 body.unknown_field. The body is known to be one JSON object.
func onlyFields(body []byte, fields string) error {
	if len(body) == 0 {
		return nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(body))
	if _, err := d.ReadToken(); err != nil {
		return domain.Errorf(domain.Invalid, "json.invalid", "%v", err)
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return domain.Errorf(domain.Invalid, "json.invalid", "%v", err)
		}
		if field := name.String(); !has(fields, field) {
			return domain.Errorf(domain.Invalid, "body.unknown_field", "unknown field at %q: this query takes %s", "/"+field, fields)
		}
		if err := d.SkipValue(); err != nil {
			return domain.Errorf(domain.Invalid, "json.invalid", "%v", err)
		}
	}
	return nil
}

// has tells whether a name is among fields, which blanks part.
func has(fields, name string) bool {
	for f := range strings.SplitSeq(fields, " ") {
		if f == name {
			return true
		}
	}
	return false
}
