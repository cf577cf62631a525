package readmodel

import (
	"strconv"

	"github.com/tidemark-engine/tidemark/events"
)

// Append appends the members of the entry, without braces.
func (e *Entry) Append(b []byte) []byte {
	b = events.AppendString(b, "agent_id", e.Agent)
	b = append(b, ',')
	b = events.AppendString(b, "key", e.Key)
	if len(e.Value) > 0 {
		b = append(b, `,"value":`...)
		b = append(b, e.Value...)
	}
	b = append(b, ',')
	b = events.AppendTime(b, "timestamp", e.Timestamp)
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, e.Version, 10)
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, e.Revision, 10)
	b = append(b, ',')
	return events.AppendString(b, "digest", e.Digest)
}

// appendRevision appends version and revision.
func appendRevision(b []byte, version, revision uint64) []byte {
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, version, 10)
	b = append(b, `,"revision":`...)
	return strconv.AppendUint(b, revision, 10)
}

// Append appends the members of the version, without braces.
func (v *DocVersion) Append(b []byte) []byte {
	b = events.AppendString(b, "type", v.Type)
	b = appendRevision(b, v.Version, v.Revision)
	b = append(b, ',')
	b = events.AppendTime(b, "timestamp", v.Timestamp)
	b = append(b, ',')
	b = events.AppendTime(b, "recorded_at", v.UpdatedAt)
	b = append(b, ',')
	b = events.AppendString(b, "writer", v.Writer)
	b = append(b, ',')
	if v.Actor != "" {
		b = append(events.AppendString(b, "actor", v.Actor), ',')
	}
	b = events.AppendString(b, "command_id", v.CommandID)
	b = append(b, ',')
	b = events.AppendString(b, "digest", v.Digest)
	if v.Erased {
		b = append(b, `,"erased":true`...)
	}
	if v.Deleted {
		return b
	}
	if v.Kind == KindConfig {
		b = append(b, `,"value":`...)
	} else {
		b = append(b, `,"state":`...)
	}
	return append(b, v.State...)
}
