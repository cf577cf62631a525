package archive

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg"
)

// archived is a row of agents.events.
type archived struct {
	ev         *events.Event
	stream     string
	partition  int32
	revision   int64
	recordedAt time.Time // whole microseconds
	nanos      int16     // those below
	body       []byte
}

var archivedColumns = []string{
	"revision", "version", "timestamp", "recorded_at", "partition", "schema", "recorded_ns", "stream",
	"aggregate", "id", "key", "type", "writer", "command_id", "digest", "body", "raw",
}

func archive(m *history.Message) archived {
	r := archived{ev: m.Event.Stored(), stream: text(string(m.Stream)), partition: int32(m.Partition), revision: int64(m.Revision), body: m.Body}
	if m.Bad != nil {
		r.ev = guess(m)
	}
	r.recordedAt, r.nanos = pg.SplitNanos(r.ev.RecordedAt.UTC())
	return r
}

// values are the row in the order of archivedColumns.
func (r *archived) values() []any {
	e := r.ev
	var body, raw any = r.body, nil
	if r.body == nil {
		body = "" // an empty message is no missing one
	}
	if !utf8.Valid(r.body) || bytes.IndexByte(r.body, 0) >= 0 {
		body, raw = nil, r.body
	}
	return []any{
		r.revision, int64(e.Version), e.Timestamp, r.recordedAt, r.partition, int32(e.Schema), r.nanos, r.stream,
		text(e.Aggregate), text(e.ID), text(e.Key), text(e.Type), text(e.Writer), text(e.CommandID), text(e.Digest), body, raw,
	}
}

// text is s as Postgres takes it. Only of what is no event of ours, and of a
// writer's name, does it change anything; body has it as it is.
func text(s string) string {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// guess makes out what it can of an event that this build cannot read, such as
// one of a newer schema: that one is found by the same columns later.
func guess(m *history.Message) *events.Event {
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
