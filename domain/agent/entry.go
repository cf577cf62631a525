// Package agent decides commands on agents: state entries, each an aggregate of
// its own, the lifecycle, and forks.
package agent

import (
	"bytes"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Strategy decides which of two writes to one entry wins (contract, section 2).
type Strategy string

const (
	LastWriteWins Strategy = "last_write_wins" // journal order decides
	Timestamp     Strategy = "timestamp"       // the greater (timestamp, writer, command id) wins
	Reject        Strategy = "reject"          // only a new entry, or an expected version that holds
)

// ParseStrategy parses a name; it fails with 400 strategy.unknown.
func ParseStrategy(s string) (Strategy, error) {
	switch v := Strategy(s); v {
	case LastWriteWins, Timestamp, Reject:
		return v, nil
	}
	return "", domain.Errorf(domain.Invalid, "strategy.unknown",
		"strategy %.64q is not one of last_write_wins, timestamp, reject", s)
}

// Entry is the state of one state entry. The zero Entry has never been written. A
// deleted entry keeps its version and its timestamp, so that versions never
// restart and an older write that arrives later still loses.
type Entry struct {
	Version   uint64
	Exists    bool
	Value     []byte // JSON, byte for byte; nil when it does not exist
	Timestamp time.Time
	Writer    string
	CommandID string
}

// EvolveEntry is the entry after one more event. The event alone determines the
// state, so the last one loads the aggregate. Unknown types change nothing.
func EvolveEntry(e Entry, ev *events.Event) (Entry, error) {
	if ev.Type != events.StateSet && ev.Type != events.StateDeleted {
		return e, nil
	}
	next := Entry{
		Version: ev.Version, Exists: ev.Type == events.StateSet,
		Timestamp: ev.Timestamp, Writer: ev.Writer, CommandID: ev.CommandID,
	}
	if next.Exists {
		w, err := events.DecodeStateWrite(ev.Data)
		if err != nil {
			return e, err
		}
		next.Value = w.Value
	}
	return next, nil
}

// Write is the command to set, compute or delete one entry.
type Write struct {
	Agent, Key      string
	Delete          bool
	Value           []byte      // JSON; of a computation the operand; nil for a delete
	Computation     Computation // nil = Value is the new value. There is no Strategy and Timestamp then
	MaxValue        int         // largest computed value, in bytes
	Strategy        Strategy
	Timestamp       time.Time // zero = the engine's clock, or just after the entry's
	ExpectedVersion *uint64   // nil = no expectation; 0 = must not exist
	Writer          string
	Request         string            // fingerprint of the request, to detect a reused command id
	Reverted        *events.Reversion // of a revert: Value and Delete are the state to return to
}

// DecideEntry decides a write: expected version first, then existence, then the
// strategy. A refused conflict is kept as a losing write. A computed write takes effect
// after the entry's last one, whatever that was, and so does a revert.
func DecideEntry(e Entry, w Write, meta domain.Metadata) domain.Decision {
	if w.Computation != nil || w.Reverted != nil {
		w.Strategy = LastWriteWins
	}
	ts := w.Timestamp
	if ts.IsZero() {
		ts = e.next(meta.Now)
	}
	switch {
	case w.ExpectedVersion != nil && !e.meetsExpectation(*w.ExpectedVersion):
		return reject(e, w, meta, ts, domain.Errorf(domain.Conflict, "state.conflict",
			"expected version %d of %s.%s, it is %d", *w.ExpectedVersion, w.Agent, w.Key, e.Version))
	case w.Reverted != nil && e.Version == 0:
		return domain.Refuse(NeverWritten(w.Agent, w.Key))
	case w.Reverted != nil && w.Delete == !e.Exists && bytes.Equal(w.Value, e.Value):
		return domain.Decision{Outcome: domain.Unchanged}
	case w.Delete && !e.Exists && !w.keepsDeletion():
		return domain.Refuse(domain.Errorf(domain.NotFound, "state.not_found",
			"agent %s has no entry %s to delete", w.Agent, w.Key))
	case w.Strategy == Timestamp && e.Version > 0 && !e.before(ts, w.Writer, meta.CommandID):
		return supersede(e, w, meta, ts)
	case w.Strategy == Reject && e.Exists && w.ExpectedVersion == nil:
		return reject(e, w, meta, ts, domain.Errorf(domain.Conflict, "state.conflict",
			"%s.%s exists at version %d and the strategy is reject", w.Agent, w.Key, e.Version))
	}
	if w.Computation != nil {
		value, err := w.Computation.apply(e.Value, w.Value)
		if err == nil {
			err = domain.CheckSize("the value", value, w.MaxValue)
		}
		if err != nil {
			return domain.Refuse(err)
		}
		w.Value = value
	}
	typ := events.StateSet
	if w.Delete {
		typ = events.StateDeleted
	}
	data := events.StateWrite{Value: w.Value, Strategy: string(w.Strategy), Request: w.Request}
	if w.Reverted != nil {
		origin, err := w.Reverted.Encode()
		if err != nil {
			return domain.Refuse(domain.Errorf(domain.Internal, "event.encode", "%v", err))
		}
		data.Reverted = origin
	}
	return domain.Decision{
		Outcome: domain.Accepted,
		Events:  []events.Event{w.event(typ, ts, data.Encode())},
	}
}

// meetsExpectation reports whether the entry has the version that a writer
// expected. A deleted entry meets both 0, as it does not exist, and its version.
func (e Entry) meetsExpectation(expected uint64) bool {
	return expected == e.Version || expected == 0 && !e.Exists
}

// keepsDeletion reports whether the deletion of a missing entry leaves an event:
// under the timestamp strategy with a timestamp of the writer, as only then the
// same writes in any order lead to the same state.
func (w Write) keepsDeletion() bool { return w.Strategy == Timestamp && !w.Timestamp.IsZero() }

// next is the timestamp of a write that has none: now, or just after the entry's
// where clocks differ or one was set back. So it never loses to an earlier write.
func (e Entry) next(now time.Time) time.Time {
	if e.Version > 0 && !now.After(e.Timestamp) {
		return e.Timestamp.Add(1)
	}
	return now
}

// before orders writes for the timestamp strategy.
func (e Entry) before(ts time.Time, writer, commandID string) bool {
	if c := e.Timestamp.Compare(ts); c != 0 {
		return c < 0
	}
	if c := strings.Compare(e.Writer, writer); c != 0 {
		return c < 0
	}
	return e.CommandID < commandID
}

func supersede(e Entry, w Write, meta domain.Metadata, ts time.Time) domain.Decision {
	loss := w.loss(e, meta)
	ev := w.event(events.StateSuperseded, ts, loss.Encode())
	return domain.Decision{Outcome: domain.Superseded, Loss: &ev}
}

func reject(e Entry, w Write, meta domain.Metadata, ts time.Time, why *domain.Error) domain.Decision {
	loss := w.loss(e, meta)
	loss.Reason, loss.Message = why.Code, why.Message
	ev := w.event(events.StateRejected, ts, loss.Encode())
	return domain.Decision{Loss: &ev, Refusal: CurrentDetails(why, e.Version, meta.Revision)}
}

// CurrentDetails adds the version and revision that a write lost against, which
// the writer needs to retry.
func CurrentDetails(err *domain.Error, version, revision uint64) *domain.Error {
	return err.With("version", version).With("revision", revision)
}

func (w Write) loss(e Entry, meta domain.Metadata) events.StateLoss {
	verb := "set"
	switch {
	case w.Reverted != nil:
		verb = "revert"
	case w.Delete:
		verb = "delete"
	case w.Computation != nil:
		verb = w.Computation.Verb()
	}
	return events.StateLoss{
		Verb: verb, Value: w.Value, Strategy: string(w.Strategy), Request: w.Request,
		CurrentVersion: e.Version, CurrentRevision: meta.Revision, CurrentBefore: meta.Before,
	}
}

func (w Write) event(typ string, ts time.Time, data []byte) events.Event {
	return events.Event{
		Type: typ, Aggregate: "agent", ID: w.Agent, Key: w.Key,
		Timestamp: ts, Writer: w.Writer, Data: data,
	}
}

// NeverWritten is the refusal to revert an entry that has no versions.
func NeverWritten(agent, key string) *domain.Error {
	return domain.Errorf(domain.NotFound, "state.not_found", "agent %s has no entry %s to revert, and never had one", agent, key)
}
