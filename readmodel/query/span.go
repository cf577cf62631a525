package query

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
)

// span has the members "from" and "to" of a query about a part of the past.
type span struct{ from, to jsontext.Value }

// decode decodes the body of a query with these fields. Where it takes "to", each of "from" and "to" is
// a revision or a time.
func (in *request) decode(body []byte, fields string) error {
	if !hasField(fields, "to") {
		return domain.DecodeBody(body, in)
	}
	with := struct {
		request
		From jsontext.Value `json:"from"`
		To   jsontext.Value `json:"to"`
	}{request: *in}
	err := domain.DecodeBody(body, &with)
	*in = with.request
	in.span = span{with.From, with.To}
	return err
}

// spanEnd parses a member that is a revision (a JSON number) or a time (a string); nil = it is
// absent.
func spanEnd(name string, value jsontext.Value) (*pastPoint, error) {
	if len(value) == 0 || value.Kind() == 'n' {
		return nil, nil
	}
	if value.Kind() == '"' {
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return nil, domain.Errorf(domain.Invalid, "json.invalid", "%v", err)
		}
		at, err := domain.ParseTime(name, text)
		if at.After(lastTime) {
			at = lastTime
		}
		return &pastPoint{at: at, beforeAll: at.Before(time.Unix(0, 0))}, err
	}
	revision, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return nil, domain.NotA("a revision, a whole number from 0, or a time, an RFC 3339 string", "/"+name, value.Kind())
	}
	return &pastPoint{revision: revision, beforeAll: revision == 0}, nil
}

// ends parses "from" and "to": 400 if from is after to.
func (s *span) ends() (from, to *pastPoint, err error) {
	if from, err = spanEnd("from", s.from); err != nil {
		return nil, nil, err
	}
	if to, err = spanEnd("to", s.to); err != nil || from == nil || to == nil {
		return from, to, err
	}
	revisions := from.at.IsZero() && to.at.IsZero()
	times := !from.at.IsZero() && !to.at.IsZero()
	if revisions && from.revision > to.revision || times && from.at.After(to.at) {
		err = domain.Errorf(domain.Invalid, "body.invalid", "from %s is after to %s", s.from, s.to)
	}
	return from, to, err
}
