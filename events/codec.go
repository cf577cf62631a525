package events

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The encoders append by hand: a value must stay byte for byte as the writer sent
// it, white space included, which the library's encoder does not promise. Decoding
// uses the library.

// Encode is the stored form of the event.
func (e *Event) Encode() []byte {
	e = e.Stored()
	b := e.appendFields(make([]byte, 0, 384+len(e.Data)+len(e.State)))
	b = append(b, `,"digest":"`...)
	b = append(b, e.Digest...)
	return append(b, `"}`...)
}

// appendFields appends all members but the digest and leaves the object open.
func (e *Event) appendFields(b []byte) []byte {
	b = append(b, '{')
	b = AppendString(b, "type", e.Type)
	b = append(b, ',')
	b = AppendString(b, "aggregate", e.Aggregate)
	b = append(b, ',')
	b = AppendString(b, "id", e.ID)
	if e.Key != "" {
		b = append(b, ',')
		b = AppendString(b, "key", e.Key)
	}
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, e.Version, 10)
	b = append(b, ',')
	b = AppendTime(b, "timestamp", e.Timestamp)
	b = append(b, ',')
	b = AppendTime(b, "recorded_at", e.RecordedAt)
	b = append(b, ',')
	b = AppendString(b, "writer", e.Writer)
	b = append(b, ',')
	if e.Actor != "" {
		b = AppendString(b, "actor", e.Actor)
		b = append(b, ',')
	}
	b = AppendString(b, "command_id", e.CommandID)
	b = e.appendTrace(b)
	b = append(b, `,"data":`...)
	if len(e.Data) == 0 {
		b = append(b, "{}"...)
	}
	b = append(b, e.Data...)
	if len(e.State) > 0 {
		b = append(b, `,"state":`...)
		b = append(b, e.State...)
	}
	b = append(b, `,"schema":`...)
	return strconv.AppendInt(b, int64(e.Schema), 10)
}

// appendTrace appends the trace context, with a comma before each member.
func (e *Event) appendTrace(b []byte) []byte {
	if e.TraceParent != "" {
		b = AppendString(append(b, ','), "traceparent", e.TraceParent)
	}
	if e.TraceState != "" {
		b = AppendString(append(b, ','), "tracestate", e.TraceState)
	}
	return b
}

// AppendString appends "name":"value" with JSON quoting. Invalid UTF-8, which
// no accepted command holds, is replaced.
func AppendString(b []byte, name, value string) []byte {
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":`...)
	b, _ = jsontext.AppendQuote(b, value) // the error only reports replaced bytes
	return b
}

// AppendTime appends "name":"RFC 3339 in UTC, nanoseconds where there are any".
func AppendTime(b []byte, name string, t time.Time) []byte {
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":"`...)
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

type wireEvent struct {
	Type        string         `json:"type"`
	Aggregate   string         `json:"aggregate"`
	ID          string         `json:"id"`
	Key         string         `json:"key"`
	Version     uint64         `json:"version"`
	Timestamp   time.Time      `json:"timestamp"`
	RecordedAt  time.Time      `json:"recorded_at"`
	Writer      string         `json:"writer"`
	Actor       string         `json:"actor"`
	CommandID   string         `json:"command_id"`
	TraceParent string         `json:"traceparent"`
	TraceState  string         `json:"tracestate"`
	Data        jsontext.Value `json:"data"`
	State       jsontext.Value `json:"state"`
	Digest      string         `json:"digest"`
	Schema      int            `json:"schema"`
}

// Decode decodes a stored event of any schema and upcasts it to this build's. An
// error means that this build cannot read the bytes: they are damaged, not an
// event, or of a newer schema (ErrNewer).
func Decode(body []byte) (Event, error) { return shipped.decode(body) }

func (u *upcaster) decode(body []byte) (Event, error) {
	var w wireEvent
	if err := json.Unmarshal(body, &w); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	if w.Type == "" || w.Aggregate == "" || w.ID == "" || w.Version == 0 || w.Digest == "" {
		return Event{}, fmt.Errorf("decode event: a required member is missing")
	}
	ev := Event{
		Type: w.Type, Aggregate: w.Aggregate, ID: w.ID, Key: w.Key, Version: w.Version,
		Timestamp: w.Timestamp.UTC(), RecordedAt: w.RecordedAt.UTC(), Writer: w.Writer, Actor: w.Actor, CommandID: w.CommandID,
		TraceParent: w.TraceParent, TraceState: w.TraceState,
		Data: w.Data, State: w.State, Digest: w.Digest, Schema: w.Schema,
	}
	if err := u.read(&ev); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	return ev, nil
}

// DecodeAt decodes an event by its position in the journal. It fails if the event
// is not one of the aggregate s.
func DecodeAt(body []byte, s AggregateName, partition int, revision uint64) (Record, error) {
	ev, err := Decode(body)
	if err != nil {
		return Record{}, fmt.Errorf("revision %d of partition %d (%s): %w", revision, partition, s, err)
	}
	if home := ev.Home(); home != "" && home != s {
		return Record{}, fmt.Errorf("revision %d of partition %d (%s): an event of %s", revision, partition, s, home)
	}
	return Record{Event: ev, Name: s, Partition: partition, Revision: revision}, nil
}

// Encode is the write as event data.
func (d *StateWrite) Encode() jsontext.Value {
	b := append(make([]byte, 0, 96+len(d.Value)), '{')
	if d.Value != nil {
		b = append(b, `"value":`...)
		b = append(b, d.Value...)
		b = append(b, ',')
	}
	if d.Strategy != "" {
		b = AppendString(b, "strategy", d.Strategy)
		b = append(b, ',')
	}
	b = AppendString(b, "request", d.Request)
	if d.Origin != nil {
		b = append(b, `,"origin":`...)
		b = append(b, d.Origin...)
	}
	if d.Erased {
		b = append(b, `,"erased":true`...)
	}
	if d.Reverted != nil {
		b = append(b, `,"reverted":`...)
		b = append(b, d.Reverted...)
	}
	return append(b, '}')
}

// Encode is the loss as event data.
func (d *StateLoss) Encode() jsontext.Value {
	b := append(make([]byte, 0, 192+len(d.Value)), '{')
	b = AppendString(b, "verb", d.Verb)
	if d.Value != nil {
		b = append(b, `,"value":`...)
		b = append(b, d.Value...)
	}
	for _, m := range [...]struct{ name, value string }{
		{"strategy", d.Strategy}, {"request", d.Request}, {"reason", d.Reason}, {"message", d.Message},
	} {
		if m.value != "" {
			b = append(b, ',')
			b = AppendString(b, m.name, m.value)
		}
	}
	b = append(b, `,"current_version":`...)
	b = strconv.AppendUint(b, d.CurrentVersion, 10)
	b = append(b, `,"current_revision":`...)
	b = strconv.AppendUint(b, d.CurrentRevision, 10)
	if d.CurrentBefore > 0 {
		b = strconv.AppendUint(append(b, `,"current_before":`...), d.CurrentBefore, 10)
	}
	return append(b, '}')
}

// DecodeStateWrite decodes the data of StateSet or StateDeleted. The value may
// share the memory of data.
func DecodeStateWrite(data jsontext.Value) (StateWrite, error) {
	if w, ok := cutStateWrite(data); ok && jsontext.Value(w.value).IsValid() {
		return StateWrite{Value: w.value, Strategy: string(w.strategy), Request: string(w.request)}, nil
	}
	var w struct {
		Value    jsontext.Value `json:"value"`
		Strategy string         `json:"strategy"`
		Request  string         `json:"request"`
		Origin   jsontext.Value `json:"origin"`
		Erased   bool           `json:"erased"`
		Reverted jsontext.Value `json:"reverted"`
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return StateWrite{}, fmt.Errorf("decode state write: %w", err)
	}
	return StateWrite(w), nil
}

// DecodeStateLoss decodes the data of StateSuperseded or StateRejected.
func DecodeStateLoss(data jsontext.Value) (StateLoss, error) {
	var w struct {
		Verb            string         `json:"verb"`
		Value           jsontext.Value `json:"value"`
		Strategy        string         `json:"strategy"`
		Request         string         `json:"request"`
		Reason          string         `json:"reason"`
		Message         string         `json:"message"`
		CurrentVersion  uint64         `json:"current_version"`
		CurrentRevision uint64         `json:"current_revision"`
		CurrentBefore   uint64         `json:"current_before"`
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return StateLoss{}, fmt.Errorf("decode state loss: %w", err)
	}
	return StateLoss(w), nil
}
