package commands

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

// writeBody is the body of agent set and, without value, agent delete.
type writeBody struct {
	Key             string         `json:"key"`
	Value           jsontext.Value `json:"value"`
	Strategy        string         `json:"strategy"`
	Timestamp       string         `json:"timestamp"`
	ExpectedVersion *uint64        `json:"expected_version"`
	Writer          string         `json:"writer"`
}

func readAgentSet(id string, body []byte, now time.Time, b Bounds) (Command, error) {
	var in writeBody
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if len(in.Value) == 0 {
		return Command{}, domain.Errorf(domain.Invalid, "body.missing_field", `"value" is missing`)
	}
	if err := b.checkSize("the value", in.Value); err != nil {
		return Command{}, err
	}
	return entryWrite("set", id, in, now, b)
}

func readAgentDelete(id string, body []byte, now time.Time, b Bounds) (Command, error) {
	var in writeBody
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if in.Value != nil {
		return Command{}, domain.Errorf(domain.Invalid, "body.unknown_field", `unknown field at "/value": delete takes no value`)
	}
	return entryWrite("delete", id, in, now, b)
}

func entryWrite(verb, id string, in writeBody, now time.Time, b Bounds) (Command, error) {
	if err := domain.CheckAgentID(id); err != nil {
		return Command{}, err
	}
	if in.Key == "" {
		return Command{}, domain.Errorf(domain.Invalid, "key.invalid", `"key" is missing or empty`)
	}
	if err := domain.CheckKey(in.Key); err != nil {
		return Command{}, err
	}
	if len(in.Writer) > domain.MaxID {
		return Command{}, domain.Errorf(domain.Invalid, "writer.invalid", "writer has %d bytes, at most %d are accepted", len(in.Writer), domain.MaxID)
	}
	w := agent.Write{
		Agent: id, Key: in.Key, Delete: verb == "delete", Value: in.Value,
		ExpectedVersion: in.ExpectedVersion, Writer: in.Writer,
	}
	var err error
	if w.Timestamp, err = clientTime(in.Timestamp, now, b.ClockSkew); err != nil {
		return Command{}, err
	}
	if w.Strategy = b.Strategies.For(id, in.Key); in.Strategy != "" {
		if w.Strategy, err = agent.ParseStrategy(in.Strategy); err != nil {
			return Command{}, err
		}
	}
	expected := ""
	if in.ExpectedVersion != nil {
		expected = strconv.FormatUint(*in.ExpectedVersion, 10)
	}
	w.Request = fingerprint(verb, in.Key, string(in.Value), in.Strategy, in.Timestamp, expected, in.Writer)
	return bindEntry(w), nil
}

// bindEntry binds a write to the entry that decides it.
func bindEntry(w agent.Write) Command {
	return Command{
		Aggregate: "agent", ID: w.Agent, Key: w.Key,
		Name:    events.StateEntry(w.Agent, w.Key),
		Losers:  events.EntryConflicts(w.Agent, w.Key),
		Request: w.Request,
		fold: func(ev *events.Event) (any, error) {
			e, err := agent.EvolveEntry(agent.Entry{}, ev)
			e.Value = nil // no decision needs it, and it would keep the event's bytes in memory
			return e, err
		},
		decide: func(state any, meta domain.Metadata) domain.Decision {
			entry, _ := state.(agent.Entry) // nil before the first event: the zero entry
			return agent.DecideEntry(entry, w, meta)
		},
		effect: entryEffect,
	}
}

// entryEffect is the effect of a write, by the event or losing write it left.
func entryEffect(rec *events.Record) (effect, error) {
	switch rec.Type {
	case events.StateSet, events.StateDeleted:
		d, err := events.DecodeStateWrite(rec.Data)
		return effect{request: d.Request, outcome: domain.Accepted, version: rec.Version, revision: rec.Revision}, err
	case events.StateSuperseded, events.StateRejected:
		d, err := events.DecodeStateLoss(rec.Data)
		e := effect{request: d.Request, outcome: domain.Superseded, version: d.CurrentVersion, revision: d.CurrentRevision}
		if rec.Type == events.StateRejected {
			e.refusal = agent.CurrentDetails(
				domain.Errorf(domain.Conflict, d.Reason, "%s", d.Message), d.CurrentVersion, d.CurrentRevision)
		}
		return e, err
	}
	return effect{}, domain.Errorf(domain.Internal, "event.unexpected", "%s on %s", rec.Type, rec.Name)
}

// clientTime reads a client's timestamp; empty is the zero time. 400
// timestamp.invalid if it is malformed, timestamp.future if it is more than skew
// ahead of now.
func clientTime(text string, now time.Time, skew time.Duration) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if t = t.UTC(); err != nil || t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, domain.Errorf(domain.Invalid, "timestamp.invalid", "%.64q is not an RFC 3339 time", text)
	}
	if t.After(now.Add(skew)) {
		return time.Time{}, domain.Errorf(domain.Invalid, "timestamp.future",
			"%s is more than %s ahead of the engine's %s", text, skew, now.Format(time.RFC3339Nano))
	}
	return t, nil
}
