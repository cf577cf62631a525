package commands

import (
	"context"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// revert is the request to bring an entry, or all entries of an agent, back to an
// earlier state.
type revert struct {
	agent   string
	point   events.RevertPoint
	reason  string
	request string
}

func readRevert(id string, body []byte, now time.Time, b Bounds) (Command, error) {
	var in struct {
		Key             jsontext.Value `json:"key"`
		ToVersion       *uint64        `json:"to_version"`
		ToRevision      *uint64        `json:"to_revision"`
		ToTime          string         `json:"to_time"`
		Reason          string         `json:"reason"`
		ExpectedVersion *uint64        `json:"expected_version"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if err := domain.CheckAgentID(id); err != nil {
		return Command{}, err
	}
	key, err := revertKey(in.Key)
	if err != nil {
		return Command{}, err
	}
	v := &revert{agent: id, point: events.RevertPoint{ToVersion: in.ToVersion, ToRevision: in.ToRevision}, reason: in.Reason}
	given := 0
	for _, set := range []bool{in.ToVersion != nil, in.ToRevision != nil, in.ToTime != ""} {
		if set {
			given++
		}
	}
	switch {
	case given == 0:
		return Command{}, domain.MissingField("to_version, to_revision or to_time")
	case given > 1:
		err = domain.Errorf(domain.Invalid, "body.invalid", "to_version, to_revision and to_time exclude each other")
	case in.ToVersion != nil && key == "":
		err = domain.Errorf(domain.Invalid, "body.invalid", "to_version needs a key: each entry counts its own versions; use to_revision or to_time for all entries of an agent")
	case in.ToVersion != nil && *in.ToVersion == 0:
		err = domain.Errorf(domain.Invalid, "to_version.invalid", "to_version is 0, versions count from 1: use to_revision or to_time for a point before the entry existed")
	case in.ExpectedVersion != nil && key == "":
		err = domain.Errorf(domain.Invalid, "body.invalid", "expected_version needs a key: it is the version of one entry")
	case in.ToTime != "":
		if v.point.ToTime, err = parseTime("to_time", in.ToTime); err == nil {
			if ahead := checkAhead(v.point.ToTime, now, b.ClockSkew); ahead != nil {
				err = ahead
			}
		}
	}
	if err != nil {
		return Command{}, err
	}
	v.request = fingerprint("revert", key, digits(in.ToVersion), digits(in.ToRevision), in.ToTime, in.Reason, digits(in.ExpectedVersion))
	if key == "" {
		return v.command(), nil
	}
	return v.entryCommand(key, in.ExpectedVersion, b), nil
}

// revertKey is the key of a revert; empty = all entries. It is null in no request:
// that would be read as all entries.
func revertKey(value jsontext.Value) (key string, err error) {
	if len(value) == 0 {
		return "", nil
	}
	if value.Kind() != '"' {
		return "", domain.NotA("a string", "/key", value.Kind())
	}
	if err := json.Unmarshal(value, &key); err != nil {
		return "", domain.Errorf(domain.Invalid, "json.invalid", "%v", err)
	}
	return key, domain.CheckKey(key)
}

func digits(n *uint64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatUint(*n, 10)
}

// entryCommand is the revert of one entry. The entry decides it like a write whose value
// is read from the past.
func (v *revert) entryCommand(key string, expected *uint64, b Bounds) Command {
	w := agent.Write{Agent: v.agent, Key: key, ExpectedVersion: expected, Request: v.request, Reverted: &events.Reversion{}}
	cmd := bindEntry(w, request{print: v.request}, b.ClockSkew)
	cmd.compares, cmd.reverts = true, true
	cmd.lookup = func(ctx context.Context, h *Handler) error {
		rec, existed, err := v.lookUp(ctx, h, key)
		if err == nil {
			err = v.restore(&w, &rec, existed)
		}
		return err
	}
	cmd.decide = func(state any, meta domain.Metadata) domain.Decision {
		entry, _ := state.(agent.Entry) // nil before the first event: the zero entry
		return agent.DecideEntry(entry, w, meta)
	}
	return cmd
}

// lookUp reads the event that an entry ended with at the point; existed is false when it
// had none.
func (v *revert) lookUp(ctx context.Context, h *Handler, key string) (rec events.Record, existed bool, err error) {
	if h.cfg.Past == nil {
		return rec, false, noPast()
	}
	name := events.StateEntry(v.agent, key)
	if v.point.ToVersion != nil {
		rec, last, ok, err := h.cfg.Past.AtVersion(ctx, name, *v.point.ToVersion)
		switch {
		case err == nil && last == 0:
			err = agent.NeverWritten(v.agent, key)
		case err == nil && !ok:
			err = domain.Errorf(domain.NotFound, "state.version_not_found",
				"%s.%s has no version %d, its last one is %d", v.agent, key, *v.point.ToVersion, last)
		}
		return rec, ok, err
	}
	moment, before, err := v.pointIn(ctx, h)
	if err != nil || before {
		return rec, false, err
	}
	return h.cfg.Past.AsOf(ctx, name, moment)
}

// pointIn is the point in the history of the agent; before = it is before the first event.
func (v *revert) pointIn(ctx context.Context, h *Handler) (m history.Moment, before bool, err error) {
	if v.point.ToRevision == nil {
		return history.Moment{At: v.point.ToTime}, v.point.ToTime.Before(time.Unix(0, 0)), nil
	}
	_, err = h.headFrom(ctx, v.agent, v.point.ToRevision)
	return history.Moment{Revision: *v.point.ToRevision}, *v.point.ToRevision == 0, err
}

// headFrom is the last revision of the partition of an agent: 400 revision.future if a
// revision that a command names is after it; nil = it names none.
func (h *Handler) headFrom(ctx context.Context, id string, named *uint64) (head uint64, err error) {
	p := h.journal.Partition(id)
	head, err = h.cfg.Past.Head(ctx, p)
	if err == nil && named != nil && *named > head {
		err = domain.Errorf(domain.Invalid, "revision.future",
			"revision %d does not exist yet: the last one of partition %d, where agent %s is, is %d", *named, p, id, head)
	}
	return head, err
}

// restore sets the state that a write returns to: that after an event, or none. 422
// state.erased if its value was erased.
func (v *revert) restore(w *agent.Write, rec *events.Record, existed bool) error {
	w.Delete, w.Value, w.Reverted = true, nil, &events.Reversion{RevertPoint: v.point, Reason: v.reason}
	if !existed {
		return nil
	}
	w.Reverted.Version, w.Reverted.Revision = rec.Version, rec.Revision
	if rec.Erased && rec.Stored().Type == events.StateSet {
		return domain.Errorf(domain.Rejected, "state.erased",
			"the value of %s.%s at version %d was erased and cannot be restored: revert to a point after the erasure", w.Agent, w.Key, rec.Version)
	}
	if rec.Type != events.StateSet {
		return nil
	}
	d, err := events.DecodeStateWrite(rec.Data)
	w.Delete, w.Value = false, d.Value
	return err
}

func noPast() error {
	return domain.Errorf(domain.Unavailable, "journal.unavailable", "this engine cannot read the state of agents in the past")
}
