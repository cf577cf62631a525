package readmodel

import (
	"strings"

	"github.com/tidemark-engine/tidemark/events"
)

// RowOf returns the row that a stream is folded into; kind is empty when there is none.
func RowOf(s events.AggregateName) (kind, id, key string) {
	aggregate, rest, named := strings.Cut(string(s), ".")
	id, rest, _ = strings.Cut(rest, ".")
	part, key, _ := strings.Cut(rest, ".")
	switch {
	case !named:
		return "", "", ""
	case aggregate == "agent" && part == "state":
		return KindEntry, id, key
	case aggregate == "agent" && part == "conflict":
		return KindConflict, id, key
	case aggregate == "agent" && rest == "lifecycle":
		return KindLifecycle, id, ""
	case aggregate == "message" && rest == "":
		return KindInbox, id, ""
	case aggregate == "config":
		return KindConfig, id, rest
	case aggregate == "task", aggregate == "session", aggregate == "reminder", aggregate == "claim", aggregate == "view":
		return aggregate, string(s)[len(aggregate)+1:], ""
	}
	return "", "", ""
}

// NameOf returns the name of the aggregate that a row is folded from; it is the
// inverse of RowOf, which has no row for the messages of a sender: each is a row of its own.
func NameOf(kind, id, key string) events.AggregateName {
	switch kind {
	case KindEntry:
		return events.StateEntry(id, key)
	case KindConflict:
		return events.EntryConflicts(id, key)
	case KindConfig:
		return events.Config(id, key)
	case KindTask:
		return events.Task(id)
	case KindSession:
		return events.Session(id)
	case KindClaim:
		return events.Claim(id)
	case KindInbox:
		return events.Inbox(id)
	case KindReminder:
		return events.Reminder(id)
	case KindView:
		return events.View(id)
	case KindMessage:
		return events.Sent(id)
	}
	return events.Lifecycle(id)
}

// NameOfRow is NameOf for a row whose name is "<id>" or "<id>.<key>".
func NameOfRow(kind, name string) events.AggregateName {
	id, key, _ := strings.Cut(name, ".")
	return NameOf(kind, id, key)
}

// Kinds of rows beside those of documents.
const (
	KindEntry    = "entry"    // a state entry
	KindConflict = "conflict" // all losing writes of one state entry, as one row
	KindMessage  = "message"  // a message between agents, named by its sender and its id
)
