package commands

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// verb reads the body of one verb and binds it to its aggregate.
type verb func(id string, body []byte, now time.Time, b Bounds) (Command, error)

// verbs are the commands of the wire contract, commands.<aggregate>.<id>.<verb>,
// each with its reader. A new verb is one line here and one reader beside its
// aggregate's others.
var verbs = map[string]map[string]verb{
	"agent": {
		"set":       readAgentSet,
		"delete":    readAgentDelete,
		"hydrate":   readLifecycle("hydrate", events.HydrationStarted),
		"flush":     readLifecycle("flush", events.FlushStarted),
		"expire":    readLifecycle("expire", events.Expired),
		"retire":    readLifecycle("retire", events.Retired),
		"fork":      readFork,
		"heartbeat": readHeartbeat,
	},
	"task": {
		"create":   readTaskCreate,
		"start":    readTaskStart,
		"progress": readTaskProgress,
		"complete": readTaskComplete,
		"fail":     readTaskFail,
		"cancel":   readTaskCancel,
	},
	"session": {
		"open":  readSessionOpen,
		"put":   readSessionPut,
		"touch": readSessionChange("touch", events.SessionTouched),
		"close": readSessionChange("close", events.SessionClosed),
	},
	"config": {
		"set":   readConfig("set"),
		"unset": readConfig("unset"),
	},
	"message": {
		"direct":    readMessage("direct"),
		"broadcast": readMessage("broadcast"),
		"notify":    readMessage("notify"),
	},
}

// internalVerbs may be sent by the engine only: the results of a hydration or a
// flush, and the expiry of a session.
var internalVerbs = map[string]map[string]verb{
	"agent": {
		"hydrated":         readOutcome(events.Hydrated),
		"hydration_failed": readOutcome(events.HydrationFailed),
		"flushed":          readOutcome(events.Flushed),
		"flush_failed":     readOutcome(events.FlushFailed),
	},
	"session": {
		"expire": readSessionChange("expire", events.SessionExpired),
	},
}

// read turns a request into a command, or refuses it.
func read(req Request, now time.Time, b Bounds) (Command, error) {
	known, ok := verbs[req.Aggregate]
	if !ok {
		return Command{}, domain.Errorf(domain.NotFound, "command.unknown", "there is no aggregate %.64q", req.Aggregate)
	}
	readBody, ok := known[req.Verb]
	if !ok && req.Internal {
		readBody, ok = internalVerbs[req.Aggregate][req.Verb]
	}
	if !ok {
		return Command{}, domain.Errorf(domain.NotFound, "command.unknown", "%s has no verb %.64q", req.Aggregate, req.Verb)
	}
	if len(req.Body) > b.BodyBytes && !req.Internal {
		return Command{}, domain.Errorf(domain.TooLarge, "body.too_large",
			"the body has %d bytes, at most %d are accepted", len(req.Body), b.BodyBytes)
	}
	id, err := checkCommandID(req.CommandID, now, b.ClockSkew)
	if err != nil {
		return Command{}, err
	}
	cmd, err := readBody(req.ID, req.Body, now, b)
	cmd.CommandID, cmd.since = id, req.MadeAt
	if cmd.run == nil {
		cmd.run = (*Handler).execute
	}
	return cmd, err
}

// fingerprint condenses a request. Each part is terminated by a NUL byte, which
// occurs neither in JSON text nor in names.
func fingerprint(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Known reports whether the contract has such a verb; for labels of metrics.
func Known(aggregate, verb string) bool {
	_, ok := verbs[aggregate][verb]
	return ok
}

// Verbs are the verbs of the contract as "<aggregate>.<verb>", in no order.
func Verbs() (names []string) {
	for aggregate, known := range verbs {
		for verb := range known {
			names = append(names, aggregate+"."+verb)
		}
	}
	return names
}
