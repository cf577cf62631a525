package events

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// The canonical form (RFC 8785) has its members ordered by name and one spelling
// of each value. The members of the envelope are known, so it is written in that
// order directly; the library canonicalises only the values that writers sent.

// appendCanonical appends the canonical form of e without its digest. It fails if
// Data or State is not JSON.
func (e *Event) appendCanonical(b []byte) ([]byte, error) {
	var err error
	b = append(b, '{')
	if e.Actor != "" {
		b = AppendString(b, "actor", e.Actor)
		b = append(b, ',')
	}
	b = AppendString(b, "aggregate", e.Aggregate)
	b = append(b, ',')
	b = AppendString(b, "command_id", e.CommandID)
	b = append(b, `,"data":`...)
	if b, err = appendData(b, e.Data); err != nil {
		return nil, err
	}
	b = append(b, ',')
	b = AppendString(b, "id", e.ID)
	if e.Key != "" {
		b = append(b, ',')
		b = AppendString(b, "key", e.Key)
	}
	b = append(b, ',')
	b = AppendTime(b, "recorded_at", e.RecordedAt)
	b = append(b, `,"schema":`...)
	b = strconv.AppendInt(b, int64(e.Schema), 10) // small enough to be exact
	if len(e.State) > 0 {
		b = append(b, `,"state":`...)
		if b, err = appendCanonicalValue(b, e.State); err != nil {
			return nil, err
		}
	}
	b = append(b, ',')
	b = AppendTime(b, "timestamp", e.Timestamp)
	b = e.appendTrace(b)
	b = append(b, ',')
	b = AppendString(b, "type", e.Type)
	b = append(b, `,"version":`...)
	b = appendCanonicalNumber(b, e.Version)
	b = append(b, ',')
	b = AppendString(b, "writer", e.Writer)
	return append(b, '}'), nil
}

func appendData(b []byte, data jsontext.Value) ([]byte, error) {
	if len(data) == 0 {
		return append(b, "{}"...), nil
	}
	if w, ok := cutStateWrite(data); ok {
		whole := append(append(append(b, `{"request":"`...), w.request...), `","strategy":"`...)
		whole = append(append(whole, w.strategy...), `","value":`...)
		if whole, err := appendCanonicalValue(whole, w.value); err == nil {
			return append(whole, '}'), nil
		}
	}
	return appendCanonicalValue(b, data)
}

// stateWriteParts are the data of a StateSet as it is stored.
type stateWriteParts struct{ value, strategy, request []byte }

// cutStateWrite splits the data of a StateSet as Encode writes it; ok is false for
// any other form. It searches from both ends and does not parse the value: the
// caller must check that it is JSON.
func cutStateWrite(data jsontext.Value) (w stateWriteParts, ok bool) {
	const head, strategy, request = `{"value":`, `,"strategy":"`, `","request":"`
	if !bytes.HasPrefix(data, []byte(head)) || !bytes.HasSuffix(data, []byte(`"}`)) {
		return w, false
	}
	i := bytes.LastIndex(data, []byte(strategy))
	if i < len(head) || i+len(strategy) > len(data)-2 {
		return w, false
	}
	names := data[i+len(strategy) : len(data)-2]
	j := bytes.Index(names, []byte(request))
	if j < 0 {
		return w, false
	}
	w = stateWriteParts{value: data[len(head):i], strategy: names[:j], request: names[j+len(request):]}
	return w, plain(w.strategy) && plain(w.request)
}

// appendCanonicalValue appends the canonical form of any JSON value.
func appendCanonicalValue(b []byte, value jsontext.Value) ([]byte, error) {
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' && plain(value[1:n-1]) {
		return append(b, value...), nil
	}
	at := len(b)
	b = append(b, value...)
	form := jsontext.Value(b[at:])
	if err := form.Canonicalize(); err != nil {
		return nil, err
	}
	return append(b[:at], form...), nil
}

// appendCanonicalNumber appends a number as the canonical form of a double.
func appendCanonicalNumber(b []byte, n uint64) []byte {
	const exact = 1 << 53 // up to here a double is the integer itself
	if n <= exact {
		return strconv.AppendUint(b, n, 10)
	}
	b, _ = appendCanonicalValue(b, strconv.AppendUint(nil, n, 10)) // digits are JSON
	return b
}

// plain reports whether the inside of a JSON string has only one spelling.
func plain(s []byte) bool {
	for _, c := range s {
		if c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return true
}
