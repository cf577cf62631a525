package readmodel

import (
	"strconv"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Version is one line of an entry's history.
type Version struct {
	Entry
	CommandID string
	Kind      string // "set", "deleted", "superseded", "rejected"
	Reason    string // error code of a rejection
}

// append appends the members of an entry, without braces.
func (e *Entry) append(b []byte) []byte {
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

// encode is the answer as a reply's body.
func (a *Answer) encode(token string) []byte {
	b := append(make([]byte, 0, 288+len(a.Value)), '{')
	b = a.Entry.append(b)
	b = append(b, ',')
	b = events.AppendString(b, "source", a.Source)
	b = append(b, ',')
	b = events.AppendString(b, "token", token)
	return append(b, '}')
}

func encodeEntries(rows []Entry, source, cursor, token string) []byte {
	b := append(make([]byte, 0, 256+256*len(rows)), `{"entries":[`...)
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		b = rows[i].append(b)
		b = append(b, '}')
	}
	return page(b, source, cursor, token)
}

func encodeHistory(rows []Version, cursor, token string) []byte {
	b := append(make([]byte, 0, 256+384*len(rows)), `{"versions":[`...)
	for i := range rows {
		v := &rows[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		b = v.Entry.append(b)
		for _, m := range [...]struct{ name, value string }{
			{"kind", v.Kind}, {"writer", v.Writer}, {"command_id", v.CommandID}, {"reason", v.Reason},
		} {
			if m.value == "" && m.name == "reason" {
				continue
			}
			b = append(b, ',')
			b = events.AppendString(b, m.name, m.value)
		}
		b = append(b, ',')
		b = events.AppendTime(b, "recorded_at", v.UpdatedAt)
		b = append(b, '}')
	}
	return page(b, FromJournal, cursor, token)
}

func encodeAgents(rows []Agent, cursor string) []byte {
	b := append(make([]byte, 0, 128+160*len(rows)), `{"agents":[`...)
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		b = events.AppendString(b, "agent_id", rows[i].ID)
		b = append(b, `,"phase":"`+phaseCold+`","entries":`...)
		b = strconv.AppendInt(b, int64(rows[i].Entries), 10)
		b = append(b, `,"revision":`...)
		b = strconv.AppendUint(b, rows[i].Revision, 10)
		b = append(b, ',')
		b = events.AppendTime(b, "updated_at", rows[i].UpdatedAt)
		b = append(b, '}')
	}
	return page(b, FromSQL, cursor, "")
}

// phaseCold is the phase of an agent of whose lifecycle nothing is recorded.
const phaseCold = "cold"

// page closes a list: its source, where the next page begins, and the token.
func page(b []byte, source, cursor, token string) []byte {
	b = append(b, `],`...)
	b = events.AppendString(b, "source", source)
	if cursor != "" {
		b = append(b, ',')
		b = events.AppendString(b, "cursor", cursor)
	}
	if token != "" {
		b = append(b, ',')
		b = events.AppendString(b, "token", token)
	}
	return append(b, '}')
}

func tokenAt(p Past, partition int, revision uint64) string {
	return domain.TokenAt(p.Incarnation(), partition, revision).String()
}

func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, domain.Errorf(domain.Invalid, "timestamp.invalid", "%.64q is not an RFC 3339 time", text)
	}
	return t.UTC(), nil
}
