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

// MadeAt is the time that a command id carries: ULID and UUIDv7 do, other ids
// do not.
func MadeAt(id string) (time.Time, bool) {
	switch len(id) {
	case ulid.EncodedSize:
		if u, err := ulid.ParseStrict(id); err == nil {
			return ulid.Time(u.Time()).UTC(), true
		}
	case 36:
		if u, err := uuid.Parse(id); err == nil && u.Version() == 7 {
			ms := int64(u[0])<<40 | int64(u[1])<<32 | int64(u[2])<<24 | int64(u[3])<<16 | int64(u[4])<<8 | int64(u[5])
			return time.UnixMilli(ms).UTC(), true
		}
	}
	return time.Time{}, false
}

// checkCommandID makes an id if there is none. It refuses a malformed id (400
// id.invalid) and one from the future (400 command.id_future), for which a later
// search would begin too late.
func checkCommandID(id string, now time.Time, skew time.Duration) (string, error) {
	if id == "" {
		return ulid.Make().String(), nil
	}
	if err := domain.CheckID("command id", id); err != nil {
		return "", err
	}
	if t, ok := MadeAt(id); ok && t.After(now.Add(skew)) {
		return "", domain.Errorf(domain.Invalid, "command.id_future",
			"the command id says %s, more than %s ahead of %s",
			t.Format(time.RFC3339Nano), skew, now.Format(time.RFC3339Nano))
	}
	return strings.Clone(id), nil // heads keep it, and it may share memory with all headers of the request
}

// MessageID is the JetStream message id of a command on an aggregate, the one
// that decides it, also where the event is a losing write. It includes the
// aggregate because the duplicate window spans the whole journal: one client's
// id must not suppress another's event.
func MessageID(aggregate events.AggregateName, commandID string) string {
	sum := sha256.Sum256([]byte(string(aggregate) + "\x00" + commandID))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}
