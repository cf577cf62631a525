package commands

import (
	"strconv"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Receipt says what a command came to (contract, section 2).
type Receipt struct {
	CommandID string
	Outcome   domain.Outcome
	Aggregate string
	ID        string
	Key       string
	Version   uint64 // of the aggregate after the command
	Revision  uint64 // of the event in its journal
	Token     string
	Replayed  bool // this command id had taken effect before; this is the first receipt
}

// Encode is the receipt as the reply's body.
func (r *Receipt) Encode() []byte {
	b := append(make([]byte, 0, 256), '{')
	b = events.AppendString(b, "command_id", r.CommandID)
	b = append(b, ',')
	b = events.AppendString(b, "outcome", string(r.Outcome))
	b = append(b, ',')
	b = events.AppendString(b, "aggregate", r.Aggregate)
	b = append(b, ',')
	b = events.AppendString(b, "id", r.ID)
	if r.Key != "" {
		b = append(b, ',')
		b = events.AppendString(b, "key", r.Key)
	}
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, r.Version, 10)
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, r.Revision, 10)
	b = append(b, ',')
	b = events.AppendString(b, "token", r.Token)
	b = append(b, `,"replayed":`...)
	b = strconv.AppendBool(b, r.Replayed)
	return append(b, '}')
}
