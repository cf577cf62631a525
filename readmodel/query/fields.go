package query

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
)

// onlyFields refuses a member that this query does not take: 400 body.unknown_field. The body must
// be one JSON object.
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
		if field := name.String(); !hasField(fields, field) {
			return domain.Errorf(domain.Invalid, "body.unknown_field", "unknown field at %q: this query takes %s", "/"+field, fields)
		}
		if err := d.SkipValue(); err != nil {
			return domain.Errorf(domain.Invalid, "json.invalid", "%v", err)
		}
	}
	return nil
}

// hasField reports whether name is one of fields, a list separated by spaces.
func hasField(fields, name string) bool {
	for f := range strings.SplitSeq(fields, " ") {
		if f == name {
			return true
		}
	}
	return false
}
