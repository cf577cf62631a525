package declared

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain/view"
)

// find returns the value at a path in a JSON document, which is valid.
func find(doc []byte, path []string) (jsontext.Value, bool) {
	d := jsontext.NewDecoder(bytes.NewReader(doc), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for _, token := range path {
		if !step(d, token) {
			return nil, false
		}
	}
	v, err := d.ReadValue()
	return v, err == nil
}

// step moves the decoder to the value of a member or an element.
func step(d *jsontext.Decoder, token string) bool {
	switch d.PeekKind() {
	case '{':
		if _, err := d.ReadToken(); err != nil {
			return false
		}
		for d.PeekKind() == '"' {
			name, err := d.ReadToken()
			if err != nil {
				return false
			}
			if name.String() == token {
				return true
			}
			if d.SkipValue() != nil {
				return false
			}
		}
	case '[':
		at, err := strconv.ParseUint(token, 10, 31)
		if err != nil || strconv.FormatUint(at, 10) != token {
			return false
		}
		if _, err := d.ReadToken(); err != nil {
			return false
		}
		for i := uint64(0); d.PeekKind() != ']'; i++ {
			if i == at {
				return true
			}
			if d.SkipValue() != nil {
				return false
			}
		}
	}
	return false
}

// timeFormat is RFC 3339 in UTC with the microseconds that SQL keeps.
const timeFormat = "2006-01-02T15:04:05.999999Z07:00"

// Value is a JSON value as a column of a type holds it, in the text that SQL reads; nil =
// null, also for a value of another type. A normal value has one spelling, so that equal
// values of a group are equal texts.
func Value(typ string, v jsontext.Value, normal bool) *string {
	kind := v.Kind()
	var s string
	switch {
	case typ == view.JSONB && kind != 'n':
		s = string(v)
		if normal {
			s = canonicalJSON(v)
		}
	case typ == view.Text && kind == '"':
		b, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return nil
		}
		s = string(b)
	case typ == view.Timestamptz && kind == '"':
		b, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return nil
		}
		t, err := time.Parse(time.RFC3339, string(b))
		if t = t.UTC().Truncate(time.Microsecond); err != nil || t.Year() < 1 || t.Year() > 9999 {
			return nil
		}
		s = t.Format(timeFormat)
	case typ == view.Numeric && kind == '0':
		if s = string(v); normal {
			s = parseDecimal(s).plain()
		}
	case typ == view.Boolean && (kind == 't' || kind == 'f'):
		s = string(v)
	default:
		return nil
	}
	return &s
}

// canonical is the RFC 8785 form of a normal value. A number that a double does not hold
// is its exact decimal instead.
func canonical(typ string, v *string) string {
	switch {
	case v == nil:
		return "null"
	case typ == view.Text || typ == view.Timestamptz:
		b, _ := jsontext.AppendQuote(nil, *v)
		form := jsontext.Value(b)
		_ = form.Canonicalize() // a quoted string is JSON
		return string(form)
	case typ == view.Numeric:
		return canonicalNumber(*v)
	}
	return *v
}

// canonicalJSON is canonical for any JSON value.
func canonicalJSON(v jsontext.Value) string {
	var b bytes.Buffer
	in := jsontext.NewDecoder(bytes.NewReader(v))
	out := jsontext.NewEncoder(&b)
	for in.PeekKind() != 0 {
		if in.PeekKind() == '0' {
			number, err := in.ReadValue()
			if err != nil || out.WriteValue(jsontext.Value(canonicalNumber(string(number)))) != nil {
				return string(v)
			}
			continue
		}
		token, err := in.ReadToken()
		if err != nil {
			break
		}
		if out.WriteToken(token) != nil {
			return string(v)
		}
	}
	form := jsontext.Value(bytes.TrimSpace(b.Bytes()))
	_ = form.Format(jsontext.ReorderRawObjects(true), jsontext.PreserveRawStrings(false),
		jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	return string(form)
}

// canonicalNumber is the shortest form of a double if that is the number, else its digits.
func canonicalNumber(text string) string {
	exact := parseDecimal(text)
	form := jsontext.Value(text)
	if form.Canonicalize() == nil && parseDecimal(string(form)) == exact {
		return string(form)
	}
	return exact.plain()
}

// groupKey is the key of the group with a canonical array of values.
func groupKey(array string) string {
	sum := sha256.Sum256([]byte(array))
	return "g." + hex.EncodeToString(sum[:16])
}
