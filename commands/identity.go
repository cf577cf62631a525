package commands

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
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
	ms, ok := madeAt(id)
	if !ok {
		return time.Time{}, false
	}
	at := ulid.Time(ms).UTC()
	return at, !at.After(now.Add(skew))
}

// madeAt is the time in a ULID or a UUIDv7, in milliseconds since 1970.
func madeAt(id string) (ms uint64, ok bool) {
	switch len(id) {
	case ulid.EncodedSize:
		u, err := ulid.ParseStrict(id)
		return u.Time(), err == nil && u.String() == id
	case 36:
		u, err := uuid.Parse(id)
		return uint64(u[0])<<40 | uint64(u[1])<<32 | uint64(u[2])<<24 | uint64(u[3])<<16 | uint64(u[4])<<8 | uint64(u[5]),
			err == nil && u.Version() == 7 && u.Variant() == uuid.RFC4122
	}
	return 0, false
}

// memberID is the id of a command of a batch that has none of its own, derived from the id of
// the batch and the command's place. It carries the time that the batch's id carries.
func memberID(batch string, place int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", batch, place))
	ms, ok := madeAt(batch)
	if !ok {
		return "b-" + hex.EncodeToString(sum[:16])
	}
	var id ulid.ULID
	_ = id.SetTime(ms)          // 48 bits, as a ULID and a UUIDv7 have
	_ = id.SetEntropy(sum[:10]) // fails only on another length
	return id.String()
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
