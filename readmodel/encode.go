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
func encodeAnswer(a *Answer, token string) []byte {
	b := append(make([]byte, 0, 288+len(a.Value)), '{')
	b = a.Entry.append(b)
	return closeAnswer(b, a.Source, token)
}

func encodeEntries(rows []Entry) []byte {
	return encodeRows("entries", 256, rows, func(b []byte, e *Entry) []byte { return e.append(b) })
}

func encodeHistory(rows []Version, cursor, token string) []byte {
	p := page{source: FromJournal, cursor: cursor, token: token}
	p.rows = encodeRows("versions", 384, rows, func(b []byte, v *Version) []byte {
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
		return events.AppendTime(b, "recorded_at", v.UpdatedAt)
	})
	return p.encode()
}

func encodeAgents(rows []Agent) []byte {
	return encodeRows("agents", 192, rows, func(b []byte, a *Agent) []byte {
		b = events.AppendString(b, "agent_id", a.ID)
		b = append(b, ',')
		b = events.AppendString(b, "phase", a.Phase)
		if !a.Since.IsZero() {
			b = append(b, ',')
			b = events.AppendTime(b, "since", a.Since)
		}
		b = append(b, `,"entries":`...)
		b = strconv.AppendInt(b, int64(a.Entries), 10)
		b = append(b, `,"revision":`...)
		b = strconv.AppendUint(b, a.Revision, 10)
		b = append(b, ',')
		return events.AppendTime(b, "updated_at", a.UpdatedAt)
	})
}

// appendPlace appends the two numbers of a row's place.
func appendPlace(b []byte, version, revision uint64) []byte {
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, version, 10)
	b = append(b, `,"revision":`...)
	return strconv.AppendUint(b, revision, 10)
}

func tokenAt(p Past, partition int, revision uint64) string {
	return domain.TokenAt(p.Incarnation(), partition, revision).String()
}

// parseTime takes RFC 3339 and nothing else, which time.Parse does not promise.
func parseTime(text string) (time.Time, error) {
	var t time.Time
	err := t.UnmarshalText([]byte(text))
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
		return t, domain.Errorf(domain.Invalid, "timestamp.invalid", "%.64q is not an RFC 3339 time", text)
	}
	return t, nil
}
