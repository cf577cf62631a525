package query

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
)

// onlyFields refuses a member that this query does not take, 400 body.unknown_field, and one that
// must not be empty and is. The body must be one JSON object.
func onlyFields(body []byte, fields string) error {
	if len(body) == 0 {
		return nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(body))
	if _, err := d.ReadToken(); err != nil {
		return domain.Errorf(domain.Invalid, "json.invalid", "%v", err)
	}
	for d.PeekKind() == '"' {
		token, err := d.ReadToken()
		if err != nil {
			return domain.Errorf(domain.Invalid, "json.invalid", "%v", err)
		}
		name := token.String()
		if !hasField(fields, name) {
			return domain.Errorf(domain.Invalid, "body.unknown_field", "unknown field at %q: this query takes %s", "/"+name, fields)
		}
		value, err := d.ReadValue()
		if err != nil {
			return domain.Errorf(domain.Invalid, "json.invalid", "%v", err)
		}
		if code := notEmpty[name]; code != "" && string(value) == `""` {
			if name == "kind" && hasField(fields, "unread") {
				code = "kind.unknown" // of messages
			}
			return domain.Errorf(domain.Invalid, code, "%s is empty; leave it out instead", name)
		}
	}
	return nil
}

// notEmpty are the members that are names, times or one of several words, with the code of an
// empty one. A filter or a time that is empty by mistake is not answered as if it were not there.
// A token, a cursor, a pattern and a prefix may be empty: a client that has none yet sends that.
var notEmpty = map[string]string{
	"at_time": "timestamp.invalid", "agent_id": "id.invalid", "owner": "id.invalid", "kind": "id.invalid", "status": "status.unknown", "phase": "phase.unknown",
	"consistency": "consistency.unknown", "text": "text.invalid", "path": "path.invalid",
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
