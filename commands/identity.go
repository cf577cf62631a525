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
)

// Times that exactly-once rests on.
const (
	// DuplicateWindow is how long the journal knows a message id.
	DuplicateWindow = 2 * time.Minute
	// young is the age up to which a command id is settled by the duplicate
	// window alone; the rest of the window is room for clocks that differ.
	young = DuplicateWindow - clockRoom
	// clockRoom is how far the clocks of engines and servers may differ.
	clockRoom = 30 * time.Second
)

// MadeAt is when a command id says it was made: ULID and UUIDv7 carry their
// time, other ids do not.
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

// checkCommandID makes an id where there is none, and refuses a malformed one
// (400 id.invalid) and one from the future (400 command.id_future), for such
// an id could not be searched for later.
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
	return strings.Clone(id), nil // heads keep it, and it may be a part of all the headers that a client sent
}

// MessageID is the JetStream message id of a command on one aggregate: s is the
// stream it decides on, whichever its event goes to. It is
// derived, because a window shared by a whole stream would let one client's
// id suppress another's event.
func MessageID(s events.Stream, commandID string) string {
	sum := sha256.Sum256([]byte(string(s) + "\x00" + commandID))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}
