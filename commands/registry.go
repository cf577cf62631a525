package commands

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
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
		"merge":     readMerge,
		"add":       readAdd,
		"append":    readAppend,
		"revert":    readRevert,
		"hydrate":   readLifecycle("hydrate", events.HydrationStarted),
		"flush":     readLifecycle("flush", events.FlushStarted),
		"expire":    readLifecycle("expire", events.Expired),
		"retire":    readLifecycle("retire", events.Retired),
		"fork":      readFork,
		"erase":     readErase,
		"heartbeat": readHeartbeat,
	},
	"task": {
		"create":   readTaskCreate,
		"claim":    readTaskClaim,
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
	"claim": {
		"acquire": readClaimAcquire,
		"renew":   readClaimRenew,
		"release": readClaimRelease,
	},
	"message": {
		"direct":    readMessage("direct"),
		"broadcast": readMessage("broadcast"),
		"notify":    readMessage("notify"),
		"read":      readMessageRead,
	},
	"reminder": {
		"set":    readReminderSet,
		"cancel": readReminderCancel,
	},
	"view": {
		"define": readViewDefine,
		"remove": readViewRemove,
	},
}

// internalVerbs may be sent by the engine only: the results of a hydration or a
// flush, the expiry of a lease, a session or a claim, the claim of the next task, and what comes
// of a reminder's due time.
var internalVerbs = map[string]map[string]verb{
	"agent": {
		"hydrated":         readOutcome(events.Hydrated),
		"hydration_failed": readOutcome(events.HydrationFailed),
		"flushed":          readOutcome(events.Flushed),
		"flush_failed":     readOutcome(events.FlushFailed),
	},
	"task": {
		"expire": readTaskExpire,
		"next":   readTaskNext,
	},
	"session": {
		"expire": readSessionChange("expire", events.SessionExpired),
	},
	"claim": {
		"expire": readClaimExpire,
	},
	"reminder": {
		"due":   readReminderDue,
		"fired": readReminderFired,
	},
}

// ParseSubject splits the part of a command's subject below its root,
// <aggregate>.<id>.<verb>. An id with dots, which gives more tokens, is 400
// id.invalid; any other number of tokens 404 command.unknown.
func ParseSubject(subject string) (aggregate, id, verb string, err error) {
	tokens := strings.Split(subject, ".")
	last := len(tokens) - 1
	switch {
	case last == 2:
		return tokens[0], tokens[1], tokens[2], nil
	case last > 2 && verbs[tokens[0]] != nil:
		return "", "", "", domain.DottedID(tokens[0]+" id", tokens[1:last])
	}
	return "", "", "", domain.Errorf(domain.NotFound, "command.unknown",
		"%.256q is not a command: it must be <aggregate>.<id>.<verb>, where the aggregate is one of %s", subject, known(verbs))
}

// Below is the part of the subject of a command, or of an aggregate, below its root. The
// configured prefix and "commands." may be left out, so a prefix that is the name of an
// aggregate is one only where it has a whole subject behind it.
func Below(prefix, subject string) string {
	if tokens := strings.Split(subject, "."); len(tokens) <= 3 && verbs[tokens[0]] != nil {
		return subject
	}
	return strings.TrimPrefix(strings.TrimPrefix(subject, prefix), "commands.")
}

// known lists the names of a table, sorted.
func known[V any](table map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(table)), ", ")
}

// read turns a request into a command, or refuses it.
func read(req Request, now time.Time, b Bounds) (Command, error) {
	table, ok := verbs[req.Aggregate]
	if !ok {
		return Command{}, domain.Errorf(domain.NotFound, "command.unknown",
			"there is no aggregate %.64q: the aggregates are %s; queries go to %squeries.>", req.Aggregate, known(verbs), b.Prefix)
	}
	readBody, ok := table[req.Verb]
	if !ok && req.Internal {
		readBody, ok = internalVerbs[req.Aggregate][req.Verb]
	}
	if !ok {
		return Command{}, domain.Errorf(domain.NotFound, "command.unknown",
			"%s has no verb %.64q: its verbs are %s; queries go to %squeries.>", req.Aggregate, req.Verb, known(table), b.Prefix)
	}
	if len(req.Body) > b.BodyBytes && !req.Internal {
		return Command{}, domain.Errorf(domain.TooLarge, "body.too_large",
			"the body has %d bytes, at most %d are accepted", len(req.Body), b.BodyBytes)
	}
	id, err := checkCommandID(req.CommandID)
	if err != nil {
		return Command{}, err
	}
	cmd, err := readBody(req.ID, req.Body, now, b)
	cmd.CommandID, cmd.since = id, req.MadeAt
	if at, timed := MadeAt(id, now, b.ClockSkew); timed {
		cmd.idTime = at
	}
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

// request identifies what a command asks for, whatever the spelling of its JSON.
type request struct {
	print   string    // fingerprint, stored with the event
	earlier [2]string // those that earlier builds stored, of values as sent or of what the members come to; empty = none
}

func (r request) is(stored string) bool {
	return stored == r.print || stored != "" && (stored == r.earlier[0] || stored == r.earlier[1])
}

// requestOf is the request with a JSON value, by the fingerprint of it with the
// value's text.
func requestOf(value []byte, print func(value string) string) request {
	normal := domain.NormalJSON(value)
	r := request{print: print(string(normal))}
	if !bytes.Equal(normal, value) {
		r.earlier[0] = print(string(value))
	}
	return r
}

// bodyRequest is the request with a body of which different JSON comes to the same, as with a
// member that has its default: it is identified by all of its JSON. earlier builds did so by
// what it comes to.
func bodyRequest(verb string, body []byte, earlier request) request {
	if len(body) == 0 {
		body = []byte("{}")
	}
	return request{fingerprint(verb, "body", string(domain.NormalJSON(body))), [2]string{earlier.print, earlier.earlier[0]}}
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
