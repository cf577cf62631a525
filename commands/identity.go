package commands

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

const (
	// windowAge is the age up to which the duplicate window alone recognises a
	// repeated command.
	windowAge = history.DuplicateWindow - clockTolerance
	// clockTolerance is how far the clocks of engines and servers may differ.
	clockTolerance = 30 * time.Second
)

// MadeAt is the time that a command id carries: a ULID in its canonical upper case
// and a UUIDv7 do, other ids do not. An id that is more than skew ahead of now does
// not either: it only looks like one, or its maker's clock is wrong, and a search
// from its time on would begin too late.
func MadeAt(id string, now time.Time, skew time.Duration) (time.Time, bool) {
	var at time.Time
	switch len(id) {
	case ulid.EncodedSize:
		u, err := ulid.ParseStrict(id)
		if err != nil || u.String() != id {
			return time.Time{}, false
		}
		at = ulid.Time(u.Time()).UTC()
	case 36:
		u, err := uuid.Parse(id)
		if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 {
			return time.Time{}, false
		}
		ms := int64(u[0])<<40 | int64(u[1])<<32 | int64(u[2])<<24 | int64(u[3])<<16 | int64(u[4])<<8 | int64(u[5])
		at = time.UnixMilli(ms).UTC()
	default:
		return time.Time{}, false
	}
	return at, !at.After(now.Add(skew))
}

// checkCommandID makes an id if there is none, and refuses a malformed one: 400
// id.invalid.
func checkCommandID(id string) (string, error) {
	if id == "" {
		return ulid.Make().String(), nil
	}
	return strings.Clone(id), domain.CheckID("command id", id) // heads keep it, and it may share memory with all headers of the request
}

// messageID is the JetStream message id of the command. That of tasks.next is without the
// task: engines that choose different ones claim one of them. It is of the agent that
// claims: one principal's id must not suppress another's claim, nor name its task.
func (c *Command) messageID() string {
	if c.next {
		return MessageID(events.AggregateName("tasks.next."+c.holder), c.CommandID)
	}
	return MessageID(c.Name, c.CommandID)
}

// MessageID is the JetStream message id of a command on an aggregate, the one
// that decides it, also where the event is a losing write. It includes the
// aggregate because the duplicate window spans the whole journal: one client's
// id must not suppress another's event.
func MessageID(aggregate events.AggregateName, commandID string) string {
	sum := sha256.Sum256([]byte(string(aggregate) + "\x00" + commandID))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}
