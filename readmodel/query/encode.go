package query

import (
	"strconv"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

// encodeAnswer encodes an answer as a reply body.
func encodeAnswer(a *tiers.Answer, token string) []byte {
	b := append(make([]byte, 0, 288+len(a.Value)), '{')
	b = a.Entry.Append(b)
	return closeAnswer(b, a.Source, token)
}

func encodeEntries(rows []readmodel.Entry) []byte {
	return encodeRows("entries", 256, rows, func(b []byte, e *readmodel.Entry) []byte { return e.Append(b) })
}

func encodeHistory(rows []readmodel.Version, cursor, token string) []byte {
	p := page{source: tiers.FromJournal, cursor: cursor, token: token}
	p.rows = encodeRows("versions", 384, rows, func(b []byte, v *readmodel.Version) []byte {
		b = v.Entry.Append(b)
		for _, m := range [...]struct{ name, value string }{
			{"kind", v.Kind}, {"writer", v.Writer}, {"actor", v.Actor}, {"command_id", v.CommandID}, {"reason", v.Reason},
		} {
			if m.value == "" && (m.name == "reason" || m.name == "actor") {
				continue
			}
			b = append(b, ',')
			b = events.AppendString(b, m.name, m.value)
		}
		if v.Erased {
			b = append(b, `,"erased":true`...)
		}
		b = append(b, ',')
		return events.AppendTime(b, "recorded_at", v.UpdatedAt)
	})
	return p.encode()
}

func encodeAgents(rows []readmodel.Agent) []byte {
	return encodeRows("agents", 192, rows, func(b []byte, a *readmodel.Agent) []byte {
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

func tokenAt(p Rows, partition int, revision uint64) string {
	return domain.TokenAt(p.Incarnation(), partition, revision).String()
}
