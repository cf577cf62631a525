package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/wI2L/jsondiff"

	"github.com/tidemark-engine/tidemark/events"
)

// appendCause appends an event without its content.
func appendCause(b []byte, rec *events.Record) []byte {
	b = strconv.AppendUint(append(b, `{"revision":`...), rec.Revision, 10)
	b = events.AppendString(append(b, ','), "type", rec.Stored().Type)
	b = events.AppendString(append(b, ','), "key", rec.Key)
	b = strconv.AppendUint(append(b, `,"version":`...), rec.Version, 10)
	b = events.AppendString(append(b, ','), "command_id", rec.CommandID)
	b = events.AppendString(append(b, ','), "writer", rec.Writer)
	if rec.Actor != "" {
		b = events.AppendString(append(b, ','), "actor", rec.Actor)
	}
	return append(events.AppendTime(append(b, ','), "recorded_at", rec.RecordedAt), '}')
}

// valueOf is the value after an event; nil = the entry did not exist.
func valueOf(rec *events.Record) ([]byte, error) {
	if rec == nil || rec.Type != events.StateSet {
		return nil, nil
	}
	w, err := events.DecodeStateWrite(rec.Data)
	return w.Value, err
}

// patch are the operations on one key, joined by commas. Where single changes take more
// room than the value and wholeRoom, it is replaced as a whole. A value of a key is as it was sent.
func (c *keyChange) patch() ([]byte, error) {
	before, err := valueOf(c.before)
	after, err2 := valueOf(c.after)
	if err = errors.Join(err, err2); err != nil || bytes.Equal(before, after) {
		return nil, err
	}
	path := "/" + strings.ReplaceAll(c.key, "/", "~1")
	switch {
	case before == nil:
		return operation("add", path, after), nil
	case after == nil:
		return operation("remove", path, nil), nil
	}
	whole := operation("replace", path, after)
	changes, err := jsondiff.CompareJSON(before, after, jsondiff.UnmarshalFunc(decodeNumbers))
	if err != nil {
		return nil, err
	}
	var b []byte
	for i := range changes {
		var value bytes.Buffer
		if changes[i].Path == "" {
			return whole, nil
		}
		if changes[i].Type != jsondiff.OperationRemove {
			e := json.NewEncoder(&value)
			e.SetEscapeHTML(false)
			if err := e.Encode(changes[i].Value); err != nil {
				return nil, err
			}
		}
		if i > 0 {
			b = append(b, ',')
		}
		if b = append(b, operation(changes[i].Type, path+changes[i].Path, bytes.TrimSpace(value.Bytes()))...); len(b) > len(whole)+wholeRoom {
			return whole, nil
		}
	}
	return b, nil
}

func operation(op, path string, value []byte) []byte {
	b := events.AppendString([]byte{'{'}, "op", op)
	b = events.AppendString(append(b, ','), "path", path)
	if value != nil {
		b = append(append(b, `,"value":`...), value...)
	}
	return append(b, '}')
}

// decodeNumbers keeps numbers as they are written.
func decodeNumbers(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}
