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

// Past is what agents had, whether or not the journal still has it.
type Past interface {
	// Head is the revision of a partition's last event; 0 = it is empty.
	Head(ctx context.Context, partition int) (uint64, error)
	// EntriesOf are the last events of an agent's entries, deletions included,
	// by key, as of a revision or, with revision 0, of a time.
	EntriesOf(ctx context.Context, agent string, revision uint64, at time.Time) ([]events.Record, error)
}

// forking is what a fork asks for.
type forking struct {
	from    string
	past    *uint64   // revision; nil = as of at, or now
	at      time.Time // zero = as of past, or now
	reason  string
	request string
}

func readFork(id string, body []byte, now time.Time, b Bounds) (Command, error) {
	var in struct {
		From       string  `json:"from"`
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
	if in.From == "" {
		return Command{}, domain.Errorf(domain.Invalid, "body.missing_field", `"from" is missing: the agent to fork`)
	}
	if err := domain.CheckAgentID(in.From); err != nil {
		return Command{}, err
	}
	if in.AtRevision != nil && in.AtTime != "" {
		return Command{}, domain.Errorf(domain.Invalid, "body.invalid", "at_revision and at_time exclude each other")
	}
	at, err := clientTime(in.AtTime, now, b.ClockSkew)
	if err != nil {
		return Command{}, err
	}
	asked := ""
	if in.AtRevision != nil {
		asked = strconv.FormatUint(*in.AtRevision, 10)
	}
	f := forking{from: in.From, past: in.AtRevision, at: at, reason: in.Reason}
	f.request = fingerprint("fork", in.From, asked, in.AtTime, in.Reason)
	return Command{
		Aggregate: "agent", ID: id, Stream: events.Lifecycle(id), Request: f.request, replay: replayPlain,
		fold: lifecycleFold.carried,
		run:  f.carry,
	}, nil
}

// Bounds of one atomic batch of a fork; the server takes 1000 messages.
const (
	forkEvents = 900
	forkBytes  = 8 << 20
)

// carry copies the origin's entries and ends with the agent's first lifecycle
// event, all in one atomic batch or, of a large agent, in several. Each copy
// says the command and the place it is of: sent again, the command goes on
// where it stopped, from the same place in the past.
func (f forking) carry(ctx context.Context, h *Handler, cmd *Command) (Receipt, error) {
	batcher, ok := h.journal.(history.Batcher)
	if h.cfg.Past == nil || !ok {
		return Receipt{}, domain.Errorf(domain.Unavailable, "journal.unavailable", "this engine does not read the journal's past")
	}
	unsure := false
	for attempt := range attempts {
		if attempt > 0 && pause(ctx, attempt) != nil {
			break
		}
		last, err := h.load(ctx, cmd.Stream, cmd.fold)
		if err != nil {
			return Receipt{}, unavailable(err, unsure)
		}
		now := h.cfg.Now()
		if r, found, err := h.search(ctx, cmd, last, now); found || err != nil {
			return r, err
		}
		fork, err := f.read(ctx, h, cmd)
		if err != nil {
			return Receipt{}, unavailable(err, unsure)
		}
		lifecycle, _ := last.state.(agent.Lifecycle) // nil before the first event
		copies, d := agent.DecideFork(lifecycle, fork, domain.Ask{Now: now, CommandID: cmd.CommandID, Revision: last.revision})
		var r Receipt
		if d.Refusal != nil {
			if err = h.confirm(ctx, cmd.Stream, last); err == nil {
				return Receipt{}, d.Refusal
			}
		} else {
			r, err = f.append(ctx, h, batcher, cmd, last, copies, d.Events, now)
		}
		switch {
		case errors.Is(err, history.ErrConflict):
			h.stats.Conflicts.Add(1)
		case errors.Is(err, history.ErrOutcomeUnknown):
			unsure = true
		case err != nil:
			return Receipt{}, unavailable(err, unsure)
		default:
			return r, nil
		}
		h.heads.drop(cmd.Stream)
	}
	if unsure || ctx.Err() != nil {
		return Receipt{}, unavailable(context.Cause(ctx), true)
	}
	return Receipt{}, domain.Errorf(domain.Conflict, "state.contended", "other writers won %d times in a row", attempts)
}

// read is what the agent has by now, and what the origin had.
func (f forking) read(ctx context.Context, h *Handler, cmd *Command) (agent.Fork, error) {
	fork := agent.Fork{Agent: cmd.ID, Copied: map[string]bool{}, Reason: f.reason, Request: f.request}
	there, _, err := h.entriesAt(ctx, cmd.ID, nil)
	if err != nil {
		return fork, err
	}
	place := f.past
	for i := range there {
		d, err := events.DecodeStateWrite(there[i].Data)
		if err != nil {
			return fork, err
		}
		if there[i].CommandID != cmd.CommandID || d.Origin == nil {
			fork.Foreign = there[i].Key
			return fork, nil
		}
		origin, err := events.DecodeOrigin(d.Origin)
		if err != nil {
			return fork, err
		}
		fork.Copied[there[i].Key], place = true, &origin.Revision
	}
	fork.Origin = events.Origin{Agent: f.from, Partition: h.journal.Partition(f.from), AtTime: f.at}
	var had []events.Record
	if f.at.IsZero() {
		had, fork.Origin.Revision, err = h.entriesAt(ctx, f.from, place)
	} else {
		had, err = h.cfg.Past.EntriesOf(ctx, f.from, 0, f.at)
	}
	for i := range had {
		if !f.at.IsZero() {
			fork.Origin.Revision = max(fork.Origin.Revision, had[i].Revision)
		}
		if had[i].Type != events.StateSet {
			continue
		}
		d, err := events.DecodeStateWrite(had[i].Data)
		if err != nil {
			return fork, err
		}
		fork.Entries = append(fork.Entries, agent.Copy{
			Key: had[i].Key, Value: d.Value, Strategy: d.Strategy, Timestamp: had[i].Timestamp, Writer: had[i].Writer,
		})
	}
	return fork, err
}

// entriesAt are an agent's entries as of a revision, at most the head, or now,
// and that revision.
func (h *Handler) entriesAt(ctx context.Context, id string, place *uint64) ([]events.Record, uint64, error) {
	at, err := h.cfg.Past.Head(ctx, h.journal.Partition(id))
	if place != nil {
		at = min(at, *place)
	}
	if err != nil || at == 0 {
		return nil, 0, err
	}
	recs, err := h.cfg.Past.EntriesOf(ctx, id, at, time.Time{})
	return recs, at, err
}

// append stores the copies, and with the last of them the lifecycle event.
func (f forking) append(ctx context.Context, h *Handler, journal history.Batcher, cmd *Command, last *head,
	copies, lifecycle []events.Event, now time.Time) (r Receipt, err error) {
	if err := complete(lifecycle, last, cmd.CommandID, now); err != nil {
		return r, err
	}
	writes := make([]history.Write, 0, len(copies)+1)
	for i := range copies {
		if err := complete(copies[i:i+1], &head{}, cmd.CommandID, now); err != nil {
			return r, err
		}
		s := events.StateEntry(cmd.ID, copies[i].Key)
		writes = append(writes, history.Write{Stream: s, First: true, ID: MessageID(s, cmd.CommandID), Event: &copies[i]})
	}
	writes = append(writes, history.Write{
		Stream: cmd.Stream, First: true, After: last.revision, ID: MessageID(cmd.Stream, cmd.CommandID), Event: &lifecycle[0],
	})
	for len(writes) > 0 {
		n, bytes := 0, 0
		for n < min(len(writes), forkEvents) && (n == 0 || bytes < forkBytes) {
			bytes += len(writes[n].Event.Data)
			n++
		}
		end, err := journal.AppendAll(ctx, writes[:n])
		if err != nil {
			return r, err
		}
		h.stats.Appends.Add(int64(n))
		for i, w := range writes[:n] {
			h.heads.drop(w.Stream)
			h.cfg.Observe(events.Record{
				Event: *w.Event, Stream: w.Stream, Partition: h.journal.Partition(cmd.ID), Revision: end - uint64(n-1-i),
			})
		}
		writes = writes[n:]
		r = h.receipt(cmd, domain.Accepted, lifecycle[0].Version, end)
	}
	return r, nil
}
