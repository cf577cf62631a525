package commands

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
)

// entryBody is what the bodies of all writes to an entry have.
type entryBody struct {
	Key             *string `json:"key"`
	ExpectedVersion *uint64 `json:"expected_version"`
	Writer          string  `json:"writer"`
}

// writeBody is the body of agent set and, without value, agent delete.
type writeBody struct {
	entryBody
	Value     jsontext.Value `json:"value"`
	Strategy  string         `json:"strategy"`
	Timestamp string         `json:"timestamp"`
}

func readAgentSet(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in writeBody
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if in.Key != nil && len(in.Value) == 0 {
		return Command{}, domain.MissingField("value")
	}
	if err := b.checkSize("the value", in.Value); err != nil {
		return Command{}, err
	}
	return entryWrite("set", id, in, b)
}

func readAgentDelete(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in writeBody
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if in.Value != nil {
		return Command{}, domain.Errorf(domain.Invalid, "body.unknown_field", `unknown field at "/value": delete takes no value`)
	}
	return entryWrite("delete", id, in, b)
}

func entryWrite(verb, id string, in writeBody, b Bounds) (Command, error) {
	w, err := in.write(id)
	if err != nil {
		return Command{}, err
	}
	w.Delete, w.Value = verb == "delete", in.Value
	if in.Timestamp != "" {
		if w.Timestamp, err = parseTime("timestamp", in.Timestamp); err != nil {
			return Command{}, err
		}
	}
	if w.Strategy = b.Strategies.For(id, w.Key); in.Strategy != "" {
		if w.Strategy, err = agent.ParseStrategy(in.Strategy); err != nil {
			return Command{}, err
		}
	}
	request := requestOf(in.Value, func(value string) string {
		return fingerprint(verb, w.Key, value, in.Strategy, in.Timestamp, in.expected(), in.Writer)
	})
	w.Request = request.print
	return bindEntry(w, request, b.ClockSkew), nil
}

// write is a write to an entry of an agent, without its value.
func (in entryBody) write(id string) (w agent.Write, err error) {
	if err := domain.CheckAgentID(id); err != nil {
		return w, err
	}
	if in.Key == nil {
		return w, domain.MissingField("key")
	}
	if err := domain.CheckKey(*in.Key); err != nil {
		return w, err
	}
	if len(in.Writer) > domain.MaxID {
		return w, domain.Errorf(domain.Invalid, "writer.invalid", "writer has %d bytes, at most %d are accepted", len(in.Writer), domain.MaxID)
	}
	return agent.Write{Agent: id, Key: *in.Key, ExpectedVersion: in.ExpectedVersion, Writer: in.Writer}, nil
}

// expected is the expected version in a fingerprint.
func (in entryBody) expected() string {
	if in.ExpectedVersion == nil {
		return ""
	}
	return strconv.FormatUint(*in.ExpectedVersion, 10)
}

// bindEntry binds a write to the entry that decides it. A timestamp is compared
// with the clock when the write is decided, not when it is read: a repeated command
// gets its first answer even after the clock was set back.
func bindEntry(w agent.Write, request request, skew time.Duration) Command {
	return Command{
		Aggregate: "agent", ID: w.Agent, Key: w.Key,
		Name:    events.StateEntry(w.Agent, w.Key),
		Losers:  events.EntryConflicts(w.Agent, w.Key),
		request: request, computes: w.Computation != nil,
		fold: func(ev *events.Event) (any, error) { return agent.EvolveEntry(agent.Entry{}, ev) },
		decide: func(state any, meta domain.Metadata) domain.Decision {
			if err := checkAhead(w.Timestamp, meta.Now, skew); err != nil {
				return domain.Refuse(err)
			}
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
		return effect{request: d.Request, outcome: domain.Accepted, version: rec.Version, revision: rec.Revision, value: string(d.Value)}, err
	case events.StateSuperseded, events.StateRejected:
		d, err := events.DecodeStateLoss(rec.Data)
		e := effect{request: d.Request, outcome: domain.Superseded, version: d.CurrentVersion, revision: d.Against(rec.Revision)}
		if rec.Erased {
			d.Reason, d.Message = "state.conflict", "the write lost a conflict; its details were erased with the agent"
		}
		if rec.Type == events.StateRejected {
			e.refusal = agent.CurrentDetails(
				domain.Errorf(domain.Conflict, d.Reason, "%s", d.Message), d.CurrentVersion, d.Against(rec.Revision))
		}
		return e, err
	}
	return effect{}, domain.Errorf(domain.Internal, "event.unexpected", "%s on %s", rec.Type, rec.Name)
}

// parseTime is domain.ParseTime without the zero time, which stands for none: 400
// timestamp.invalid.
func parseTime(noun, text string) (time.Time, error) {
	t, err := domain.ParseTime(noun, text)
	if err == nil && t.IsZero() {
		err = domain.Errorf(domain.Invalid, "timestamp.invalid", "%s %s cannot be stored: RFC 3339 times are accepted after it", noun, text)
	}
	return t, err
}

// checkAhead refuses a client's timestamp that is more than skew ahead of now: 400
// timestamp.future.
func checkAhead(at, now time.Time, skew time.Duration) *domain.Error {
	if !at.After(now.Add(skew)) {
		return nil
	}
	return domain.Errorf(domain.Invalid, "timestamp.future", "%s is more than %s ahead of the engine's %s",
		at.Format(time.RFC3339Nano), skew, now.Format(time.RFC3339Nano))
}
