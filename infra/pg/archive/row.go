package archive

import (
	"bytes"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
)

// eventRow is a row of agents.events.
type eventRow struct {
	ev         *events.Event
	stream     string
	partition  int32
	revision   int64
	recordedAt time.Time // whole microseconds
	nanos      int16     // remaining nanoseconds
	body       []byte
}

var eventColumns = []string{
	"revision", "version", "timestamp", "recorded_at", "partition", "schema", "recorded_ns", "stream",
	"aggregate", "id", "key", "type", "writer", "command_id", "digest", "body", "raw",
}

func newEventRow(m *history.Message) eventRow {
	r := eventRow{ev: m.Event.Stored(), stream: pg.ValidText(string(m.Name)), partition: int32(m.Partition), revision: int64(m.Revision), body: m.Body}
	if m.Bad != nil {
		r.ev = decodeHeader(m)
	}
	r.recordedAt, r.nanos = pg.SplitNanos(r.ev.RecordedAt.UTC())
	return r
}

// values returns the row in the order of eventColumns.
func (r *eventRow) values() []any {
	e := r.ev
	var body, raw any = r.body, nil
	if r.body == nil {
		body = "" // body NULL means that the bytes are in raw
	}
	if !utf8.Valid(r.body) || bytes.IndexByte(r.body, 0) >= 0 {
		body, raw = nil, r.body
	}
	return []any{
		r.revision, int64(e.Version), e.Timestamp, r.recordedAt, r.partition, int32(e.Schema), r.nanos, r.stream,
		pg.ValidText(e.Aggregate), pg.ValidText(e.ID), pg.ValidText(e.Key), pg.ValidText(e.Type), pg.ValidText(e.Writer), pg.ValidText(e.CommandID), pg.ValidText(e.Digest), body, raw,
	}
}

// decodeHeader reads the fields it can of an event that this build cannot decode,
// such as one of a newer schema, so that lookups by column find it.
func decodeHeader(m *history.Message) *events.Event {
	var w struct {
		Type       string    `json:"type"`
		Aggregate  string    `json:"aggregate"`
		ID         string    `json:"id"`
		Key        string    `json:"key"`
		Version    uint64    `json:"version"`
		Timestamp  time.Time `json:"timestamp"`
		RecordedAt time.Time `json:"recorded_at"`
		Writer     string    `json:"writer"`
		CommandID  string    `json:"command_id"`
		Digest     string    `json:"digest"`
		Schema     int32     `json:"schema"`
	}
	if err := json.Unmarshal(m.Body, &w); err != nil || w.RecordedAt.IsZero() {
		return &events.Event{Timestamp: m.RecordedAt, RecordedAt: m.RecordedAt}
	}
	return &events.Event{
		Type: w.Type, Aggregate: w.Aggregate, ID: w.ID, Key: w.Key, Version: w.Version,
		Timestamp: w.Timestamp.UTC(), RecordedAt: w.RecordedAt.UTC(), Writer: w.Writer, CommandID: w.CommandID,
		Digest: w.Digest, Schema: int(w.Schema),
	}
}
