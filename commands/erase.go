package commands

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// Keys encrypts the content of events with a key of its agent, and destroys keys.
// All of it may be repeated. Errors are 503.
type Keys interface {
	// Seal encrypts the content of an event whose version is set. carries says that it may hold
	// content of earlier events, which must not get a new key while it is being erased.
	Seal(ctx context.Context, ev *events.Event, carries bool) error
	// Retire makes a command's erasure begin: nothing more is encrypted with the keys
	// whose ids it returns, once settle has passed.
	Retire(ctx context.Context, agent, command string) (retired []string, settle time.Duration, err error)
	// Destroy destroys the retired keys.
	Destroy(ctx context.Context, agent, command string) error
}

// Erasure is an erased agent whose read models must be cleaned.
type Erasure struct {
	Agent, CommandID, Reason string
	Partition                int
	Revision                 uint64 // of the event agent.erased
	Answered                 string // the command that has its answer now: this one, or one that found nothing to do after it
}

// Eraser removes what read models and feeds have of an erased agent.
type Eraser interface {
	// Plaintext returns the revision of a partition up to which events were stored
	// before encryption was turned on; 0 = all are encrypted.
	Plaintext(ctx context.Context, partition int) (uint64, error)
	// Begin stores that an erasure has begun: an engine continues one that was interrupted. It
	// returns the commands that were interrupted before it, whose work is part of this one.
	Begin(ctx context.Context, e Erasure) (interrupted []string, err error)
	// Clean stores that the agent must be cleaned, cleans it in the background and
	// waits some seconds for it. done is false while it has work left.
	Clean(ctx context.Context, e Erasure) (done bool, err error)
	// Cleaned reports whether an agent has been cleaned.
	Cleaned(ctx context.Context, agent string) (bool, error)
}

// erase is the request to make all values of an agent unreadable.
type erase struct {
	reason  string
	request string
}

func readErase(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Reason *string `json:"reason"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if err := domain.CheckAgentID(id); err != nil {
		return Command{}, err
	}
	if in.Reason == nil {
		return Command{}, domain.MissingField("reason")
	}
	if strings.TrimSpace(*in.Reason) == "" {
		return Command{}, domain.Errorf(domain.Invalid, "reason.invalid", "reason is empty: say why the agent is erased, it is kept in the event")
	}
	e := erase{reason: *in.Reason, request: fingerprint("erase", *in.Reason)}
	return Command{
		Aggregate: "agent", ID: id, Name: events.Lifecycle(id), request: request{print: e.request}, effect: acceptedEffect,
		fold: lifecycleFold.carried, long: true,
		run: e.execute,
	}, nil
}

// execute retires the agent's key, deletes the entries that it has encrypted and the
// content of tasks, sessions, reminders and claims, destroys it, appends the event agent.erased and has the read models cleaned. A
// repeated command continues where an interrupted one stopped. What is written after
// the key was retired is encrypted with another key and stays.
func (e erase) execute(h *Handler, ctx context.Context, cmd *Command, _ bool) (r Receipt, err error) {
	switch {
	case h.cfg.Keys == nil:
		return r, domain.Errorf(domain.Rejected, "erase.needs_encryption",
			"values can be erased only where they are encrypted: start the engine with --encryption on and a --master-key")
	case h.cfg.Past == nil:
		return r, domain.Errorf(domain.Unavailable, "journal.unavailable", "this engine cannot read the history of agents")
	}
	err = h.retryLoaded(ctx, cmd, false, func(bool) (err error) { // the search for an earlier delivery is always made
		r, err = e.attempt(ctx, h, cmd)
		return err
	})
	return r, err
}

func (e erase) attempt(ctx context.Context, h *Handler, cmd *Command) (Receipt, error) {
	last, err := h.load(ctx, cmd.Name, cmd.fold)
	if err != nil {
		return Receipt{}, err
	}
	now := h.cfg.Now()
	if r, found, err := h.dedupHistory(ctx, cmd, last, now); found || err != nil {
		if err == nil {
			err = h.addErasure(ctx, &r, cmd)
		}
		return r, err
	}
	if err := e.checkPlaintext(ctx, h, cmd.ID); err != nil {
		return Receipt{}, err
	}
	begun := Erasure{Agent: cmd.ID, CommandID: cmd.CommandID, Reason: e.reason, Partition: h.journal.Partition(cmd.ID)}
	interrupted, stopNoting, err := h.beginErasure(ctx, &begun)
	if err != nil {
		return Receipt{}, err
	}
	defer stopNoting()
	retired, settle, err := h.cfg.Keys.Retire(ctx, cmd.ID, cmd.CommandID)
	if err != nil {
		return Receipt{}, err
	}
	if len(retired) > 0 {
		if err := wait.Sleep(ctx, settle); err != nil {
			return Receipt{}, err
		}
	}
	if _, err := e.deleteEntries(ctx, h, cmd, retired); err != nil {
		return Receipt{}, err
	}
	if err := h.cfg.Keys.Destroy(ctx, cmd.ID, cmd.CommandID); err != nil {
		return Receipt{}, err
	}
	// What another engine has appended meanwhile with the key is unreadable now.
	deleted, err := e.deleteEntries(ctx, h, cmd, retired)
	if err != nil {
		return Receipt{}, err
	}
	if len(retired) == 0 && deleted == 0 && last.revision > 0 {
		rec, err := h.journal.At(ctx, h.journal.Partition(cmd.ID), last.revision)
		if err != nil {
			return Receipt{}, err
		}
		if rec.Type == events.Erased { // nothing was written since
			stopNoting()
			r := h.receipt(cmd, domain.Unchanged, last.version, last.revision)
			return r, h.addErasure(ctx, &r, cmd)
		}
	}
	return e.append(ctx, h, cmd, last, retired, interrupted, now, stopNoting)
}

// noteEvery is how often the note of an erasure under way is stored again. Another engine takes
// an erasure over whose note stays as it is.
const noteEvery = 10 * time.Second

// beginErasure stores that an erasure has begun, again and again until stopNoting is
// called, before the note says that the erasure has ended.
func (h *Handler) beginErasure(ctx context.Context, er *Erasure) (interrupted []string, stopNoting func(), err error) {
	if h.cfg.Eraser == nil {
		return nil, func() {}, nil
	}
	if interrupted, err = h.cfg.Eraser.Begin(ctx, *er); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var noting sync.WaitGroup
	noting.Go(func() {
		for wait.Sleep(ctx, noteEvery) == nil {
			_, _ = h.cfg.Eraser.Begin(ctx, *er) // or next time
		}
	})
	return interrupted, func() { cancel(); noting.Wait() }, nil
}

// checkPlaintext refuses to erase an agent with events from before encryption: their
// values would stay readable.
func (e erase) checkPlaintext(ctx context.Context, h *Handler, id string) error {
	if h.cfg.Eraser == nil {
		return nil
	}
	if err := e.checkOldOwned(ctx, h, id); err != nil {
		return err
	}
	upTo, err := h.cfg.Eraser.Plaintext(ctx, h.journal.Partition(id))
	if err != nil || upTo == 0 {
		return err
	}
	for _, pattern := range contentOf(id) {
		names, err := h.cfg.Past.Names(ctx, pattern)
		if err != nil {
			return err
		}
		if err := e.checkOld(ctx, h, id, pattern, names, upTo); err != nil {
			return err
		}
	}
	return nil
}

// checkOld refuses to erase an agent with aggregates of one partition that existed at a
// revision.
func (e erase) checkOld(ctx context.Context, h *Handler, id string, pattern events.AggregateName, names []events.AggregateName, upTo uint64) error {
	old, err := h.cfg.Past.ManyAsOf(ctx, pattern, names, history.Moment{Revision: upTo})
	if err != nil || len(old) == 0 {
		return err
	}
	return domain.Errorf(domain.Rejected, "erase.plaintext_history",
		"agent %s has events from before encryption was turned on (%s, revision %d): their values cannot be made unreadable, and nothing was erased",
		id, old[0].Name, old[0].Revision).With("revision", old[0].Revision)
}

// append appends the event agent.erased. It calls stopNoting before.
func (e erase) append(ctx context.Context, h *Handler, cmd *Command, last *head, keys, interrupted []string, now time.Time, stopNoting func()) (Receipt, error) {
	commands := append([]string{cmd.CommandID}, interrupted...)
	owned, err := Erased(ctx, h.cfg.Past, cmd.ID, commands)
	if err != nil {
		return Receipt{}, err
	}
	entries, config, err := h.countErased(ctx, cmd.ID, commands)
	if err != nil {
		return Receipt{}, err
	}
	stopNoting()
	named, more := bounded(keys)
	if named == nil {
		named = []string{}
	}
	lifecycle, _ := last.state.(agent.Lifecycle) // nil before the first event
	d := agent.DecideLifecycle(lifecycle, agent.Change{Agent: cmd.ID, Type: events.Erased, Data: events.LifecycleChange{
		Reason: e.reason, Request: e.request,
		Erasure: &events.Erasure{
			Entries: entries, Config: config, Tasks: len(owned["task"]), Sessions: len(owned["session"]), Reminders: len(owned["reminder"]), Claims: len(owned["claim"]), DataKeys: named, More: more,
		},
	}}, domain.Metadata{Now: now, CommandID: cmd.CommandID, Revision: last.revision, Version: last.version})
	if d.Refusal != nil {
		return Receipt{}, d.Refusal
	}
	next, replayed, err := h.append(ctx, cmd, cmd.Name, last, d.Events, cmd.fold, now)
	if err != nil {
		return Receipt{}, err
	}
	r := orEmpty(replayed)
	if replayed == nil {
		r = h.receipt(cmd, domain.Accepted, next.version, next.revision)
	}
	return r, h.addErasure(ctx, &r, cmd)
}

// addErasure adds to a receipt what the erasure at its revision did, and has the read
// models cleaned if they are not.
func (h *Handler) addErasure(ctx context.Context, r *Receipt, cmd *Command) error {
	p := h.journal.Partition(cmd.ID)
	rec, err := h.journal.At(ctx, p, r.Revision)
	if err != nil {
		return err
	}
	var d events.LifecycleChange
	if err := json.Unmarshal(rec.Data, &d); err != nil || d.Erasure == nil {
		return domain.Errorf(domain.Internal, "event.unexpected", "%s at revision %d is no erasure", rec.Type, rec.Revision)
	}
	r.Erasure = &ReceiptErasure{Erasure: *d.Erasure, Complete: true}
	if h.cfg.Eraser == nil {
		return nil
	}
	if r.Replayed {
		if r.Erasure.Complete, err = h.cfg.Eraser.Cleaned(ctx, cmd.ID); err != nil || r.Erasure.Complete {
			return err
		}
	}
	r.Erasure.Complete, err = h.cfg.Eraser.Clean(ctx, Erasure{
		Agent: cmd.ID, CommandID: rec.CommandID, Reason: d.Reason, Partition: p, Revision: rec.Revision, Answered: cmd.CommandID,
	})
	return err
}
