package commands

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// fork is the request to start an agent from the entries of another.
type fork struct {
	from    string
	past    *uint64   // revision; nil = as of at, or now
	at      time.Time // zero = as of past, or now
	reason  string
	request string
}

func readFork(id string, body []byte, now time.Time, b Bounds) (Command, error) {
	var in struct {
		From       *string `json:"from"`
		AtRevision *uint64 `json:"at_revision"`
		AtTime     string  `json:"at_time"`
		Reason     string  `json:"reason"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if err := domain.CheckAgentID(id); err != nil {
		return Command{}, err
	}
	if in.From == nil {
		return Command{}, domain.MissingField("from")
	}
	if err := domain.CheckAgentID(*in.From); err != nil {
		return Command{}, err
	}
	if in.AtRevision != nil && in.AtTime != "" {
		return Command{}, domain.Errorf(domain.Invalid, "body.invalid", "at_revision and at_time exclude each other")
	}
	var at time.Time
	if in.AtTime != "" {
		var err error
		if at, err = parseTime("at_time", in.AtTime); err != nil {
			return Command{}, err
		}
		if err := checkAhead(at, now, b.ClockSkew); err != nil {
			return Command{}, err
		}
	}
	asked := ""
	if in.AtRevision != nil {
		asked = strconv.FormatUint(*in.AtRevision, 10)
	}
	f := fork{from: *in.From, past: in.AtRevision, at: at, reason: in.Reason}
	f.request = fingerprint("fork", *in.From, asked, in.AtTime, in.Reason)
	return Command{
		Aggregate: "agent", ID: id, Name: events.Lifecycle(id), request: request{print: f.request}, effect: acceptedEffect, source: f.from,
		fold: lifecycleFold.carried, long: true,
		run: f.execute,
	}, nil
}

// Bounds of one atomic batch of a fork; the server accepts 1,000 messages.
const (
	forkEvents = 900
	forkBytes  = 8 << 20
)

// execute copies the origin's entries and then appends the agent's first
// lifecycle event: in one atomic batch, or in several for a large agent. Each
// copy names the command and the revision it was taken from, so a repeated
// command continues where an interrupted one stopped, from the same revision.
func (f fork) execute(h *Handler, ctx context.Context, cmd *Command, _ bool) (r Receipt, err error) {
	if h.cfg.Past == nil {
		return Receipt{}, domain.Errorf(domain.Unavailable, "journal.unavailable", "this engine cannot read the state of agents in the past")
	}
	err = h.retry(ctx, false, false, func(unsure bool) (err error) {
		r, err = f.attempt(ctx, h, cmd, unsure)
		if errors.Is(err, history.ErrConflict) || errors.Is(err, history.ErrOutcomeUnknown) {
			h.heads.drop(cmd.Name)
		}
		return err
	})
	return r, err
}

func (f fork) attempt(ctx context.Context, h *Handler, cmd *Command, unsure bool) (Receipt, error) {
	last, err := h.load(ctx, cmd.Name, cmd.fold)
	if err != nil {
		return Receipt{}, unavailable(err, unsure)
	}
	now := h.cfg.Now()
	if r, found, err := h.dedupHistory(ctx, cmd, last, now); found || err != nil {
		return r, err
	}
	request, err := f.read(ctx, h, cmd)
	if err != nil {
		return Receipt{}, unavailable(err, unsure)
	}
	lifecycle, _ := last.state.(agent.Lifecycle) // nil before the first event
	copies, d := agent.DecideFork(lifecycle, request, domain.Metadata{Now: now, CommandID: cmd.CommandID, Revision: last.revision, Version: last.version})
	if d.Refusal != nil {
		if err := h.withdraw(ctx, cmd); err != nil {
			return Receipt{}, err
		}
		if err := h.confirm(ctx, cmd.Name, last); err != nil {
			return Receipt{}, err
		}
		return Receipt{}, d.Refusal
	}
	r, err := f.append(ctx, h, cmd, last, copies, d.Events, now)
	if err != nil && !errors.Is(err, history.ErrConflict) && !errors.Is(err, history.ErrOutcomeUnknown) {
		return Receipt{}, unavailable(err, unsure)
	}
	return r, err
}

// read reads the entries that the agent has now and those that the origin had.
func (f fork) read(ctx context.Context, h *Handler, cmd *Command) (agent.Fork, error) {
	request := agent.Fork{Agent: cmd.ID, Copied: map[string]bool{}, Reason: f.reason, Request: f.request}
	present, _, err := h.entriesAt(ctx, cmd.ID, nil)
	if err != nil {
		return request, err
	}
	past := f.past
	for i := range present {
		d, err := events.DecodeStateWrite(present[i].Data)
		if err != nil {
			return request, err
		}
		if present[i].CommandID != cmd.CommandID || d.Origin == nil {
			request.Foreign = present[i].Key
			return request, nil
		}
		origin, err := events.DecodeOrigin(d.Origin)
		if err != nil {
			return request, err
		}
		request.Copied[present[i].Key], past = true, &origin.Revision
	}
	request.Origin = events.Origin{Agent: f.from, Partition: h.journal.Partition(f.from), AtTime: f.at}
	var had []events.Record
	if f.at.IsZero() {
		had, request.Origin.Revision, err = h.entriesAt(ctx, f.from, past)
	} else {
		had, err = h.cfg.Past.EntriesOf(ctx, f.from, 0, f.at)
	}
	for i := range had {
		if !f.at.IsZero() {
			request.Origin.Revision = max(request.Origin.Revision, had[i].Revision)
		}
		if had[i].Type != events.StateSet {
			continue
		}
		d, err := events.DecodeStateWrite(had[i].Data)
		if err != nil {
			return request, err
		}
		request.Entries = append(request.Entries, agent.Copy{
			Key: had[i].Key, Value: d.Value, Strategy: d.Strategy, Timestamp: had[i].Timestamp, Writer: had[i].Writer,
		})
	}
	return request, err
}

// entriesAt are an agent's entries as of a revision; nil = as of the head. It
// returns that revision too: 400 revision.future if it does not exist yet.
func (h *Handler) entriesAt(ctx context.Context, id string, past *uint64) ([]events.Record, uint64, error) {
	at, err := h.headFrom(ctx, id, past)
	if past != nil {
		at = *past
	}
	if err != nil || at == 0 {
		return nil, 0, err
	}
	recs, err := h.cfg.Past.EntriesOf(ctx, id, at, time.Time{})
	return recs, at, err
}

// append stores the copies, and the lifecycle event with the last of them.
func (f fork) append(ctx context.Context, h *Handler, cmd *Command, last *head,
	copies, lifecycle []events.Event, now time.Time) (r Receipt, err error) {
	if err := h.completeOwn(ctx, lifecycle, last, cmd, now); err != nil {
		return r, err
	}
	writes := make([]history.Write, 0, len(copies)+1)
	for i := range copies {
		if err := h.complete(ctx, copies[i:i+1], &head{}, cmd, now); err != nil {
			return r, err
		}
		name := events.StateEntry(cmd.ID, copies[i].Key)
		writes = append(writes, history.Write{Name: name, First: true, ID: MessageID(name, cmd.CommandID), Event: &copies[i]})
	}
	writes = append(writes, history.Writes(cmd.Name, last.revision, MessageID(cmd.Name, cmd.CommandID), lifecycle)...)
	for len(writes) > 0 {
		n, bytes := 0, 0
		for n < min(len(writes), forkEvents) && (n == 0 || bytes < forkBytes) {
			bytes += len(writes[n].Event.Data)
			n++
		}
		done, err := h.store(ctx, writes[:n], cmd)
		if err != nil {
			return r, err
		}
		if done.Duplicate { // a batch of one event, stored by an earlier attempt
			return r, history.ErrOutcomeUnknown
		}
		h.stats.Appends.Add(int64(n))
		for _, w := range writes[:n] {
			h.heads.drop(w.Name)
		}
		h.observe(writes[:n], done.Revision)
		writes = writes[n:]
		r = h.receipt(cmd, domain.Accepted, lifecycle[0].Version, done.Revision)
	}
	return r, nil
}
