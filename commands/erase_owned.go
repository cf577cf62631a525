package commands

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/claim"
	"github.com/tidemark-engine/tidemark/domain/reminder"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// A task belongs to the agent that it is for or that works on it, a session to its
// owner, a reminder to the agent that its command goes to, a claim to its owner or last owner.
// Their events are encrypted with the key of that agent; a task that goes to another agent takes
// its content along.

// owned is how the tasks, sessions, reminders or claims of an agent are erased.
type owned struct {
	pattern events.AggregateName
	erased  string // type of the event
	outline func(*events.Event) error
	// strip sets the state of an event that follows last.
	strip func(last, ev *events.Event) error
}

var ownedKinds = map[string]owned{
	"task":     ownedKind("task.*", events.TaskErased, task.Evolve),
	"reminder": ownedKind("reminder.*", events.ReminderErased, reminder.Evolve),
	"session":  ownedKind("session.*", events.SessionErased, session.Evolve),
	"claim":    ownedKind("claim.*", events.ClaimErased, claim.Evolve),
}

func ownedKind[S interface{ Outline() (string, S) }](pattern events.AggregateName, erased string, evolve func(S, *events.Event) (S, error)) owned {
	return owned{
		pattern: pattern, erased: erased,
		outline: func(ev *events.Event) error {
			s, err := domain.CarriedState[S](ev)
			if err != nil {
				return err
			}
			agent, outline := s.Outline()
			if ev.Owner = agent; agent != "" {
				ev.Outline, err = domain.Encode(outline)
			}
			return err
		},
		strip: func(last, ev *events.Event) error {
			s, err := domain.CarriedState[S](last)
			if err != nil {
				return err
			}
			evs := []events.Event{*ev}
			err = domain.CarryState(s, evs, evolve)
			*ev = evs[0]
			return err
		},
	}
}

// setOutline sets Owner and Outline of an event of a task, a session, a reminder or a claim.
func setOutline(ev *events.Event) error {
	if kind, ok := ownedKinds[ev.Aggregate]; ok {
		return kind.outline(ev)
	}
	return nil
}

// eachOwned yields the last events of all tasks, sessions, reminders and claims.
func eachOwned(ctx context.Context, past *history.History, yield func(events.Record) error) error {
	for _, kind := range ownedKinds {
		var failed error
		err := past.EachLast(ctx, kind.pattern, func(rec events.Record) {
			failed = cmp.Or(failed, yield(rec))
		})
		if err = cmp.Or(err, failed); err != nil {
			return fmt.Errorf("read %s: %w", kind.pattern, err)
		}
	}
	return nil
}

// ownedBy returns the last events of the tasks, sessions, reminders and claims of an agent that were not
// erased, one of each.
func ownedBy(ctx context.Context, past *history.History, agent string) (all []events.Record, err error) {
	found := map[events.AggregateName]int{}
	err = eachOwned(ctx, past, func(rec events.Record) error {
		if rec.Type == ownedKinds[rec.Aggregate].erased {
			return nil
		}
		owner, err := ownerOf(&rec.Event)
		if err != nil || owner != agent {
			return err
		}
		if i, again := found[rec.Name]; again { // with a later event
			all[i] = rec
			return nil
		}
		found[rec.Name], all = len(all), append(all, rec)
		return nil
	})
	return all, err
}

// ownerOf is the agent that a task, a session, a reminder or a claim belongs to after an event.
func ownerOf(ev *events.Event) (string, error) {
	if _, _, sealed := ev.Sealed(); sealed {
		return ev.KeyAgent(), nil
	}
	open := *ev
	err := setOutline(&open)
	return open.Owner, err
}

// Erased returns the ids of the tasks, sessions, reminders and claims that commands have erased with an
// agent, by aggregate.
func Erased(ctx context.Context, past *history.History, agent string, commands []string) (map[string][]string, error) {
	ids, seen := map[string][]string{}, map[events.AggregateName]bool{}
	err := eachOwned(ctx, past, func(rec events.Record) error {
		if !slices.Contains(commands, rec.CommandID) || rec.Type != ownedKinds[rec.Aggregate].erased || seen[rec.Name] {
			return nil
		}
		owner, err := ownerOf(&rec.Event)
		if err == nil && owner == agent {
			seen[rec.Name] = true
			ids[rec.Aggregate] = append(ids[rec.Aggregate], rec.ID)
		}
		return err
	})
	return ids, err
}

// checkOldOwned refuses to erase an agent with tasks, sessions, reminders or claims from before encryption.
func (e erase) checkOldOwned(ctx context.Context, h *Handler, id string) error {
	marks, old := make([]uint64, h.cfg.Past.Partitions()), false
	for p := range marks {
		var err error
		if marks[p], err = h.cfg.Eraser.Plaintext(ctx, p); err != nil {
			return err
		}
		old = old || marks[p] > 0
	}
	if !old {
		return nil
	}
	all, err := ownedBy(ctx, h.cfg.Past, id)
	if err != nil {
		return err
	}
	for i := range all {
		if upTo := marks[all[i].Partition]; upTo > 0 {
			if err := e.checkOld(ctx, h, id, all[i].Name, []events.AggregateName{all[i].Name}, upTo); err != nil {
				return err
			}
		}
	}
	return nil
}

// eraseOwned appends an event to each task, session, reminder and claim whose last event was encrypted
// with one of the keys, and returns how many: the content is gone, and what was open is
// ended.
func (e erase) eraseOwned(ctx context.Context, h *Handler, cmd *Command, keys []string) (erased int, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	all, err := ownedBy(ctx, h.cfg.Past, cmd.ID)
	if err != nil {
		return 0, err
	}
	writes := map[int][]history.Write{}
	for i := range all {
		last := &all[i]
		if key, _, _ := last.Sealed(); !slices.Contains(keys, key) {
			continue
		}
		evs, err := e.erasedEvents(ctx, h, cmd, last)
		if err != nil {
			return 0, err
		}
		writes[last.Partition] = append(writes[last.Partition], history.Writes(last.Name, last.Revision, "", evs)...)
	}
	for _, of := range writes {
		n, err := e.appendAll(ctx, h, of)
		erased += n
		if err != nil {
			return erased, err
		}
	}
	return erased, nil
}

// erasedEvents is the event that erases a task, a session, a reminder or a claim after its last event.
func (e erase) erasedEvents(ctx context.Context, h *Handler, cmd *Command, last *events.Record) ([]events.Event, error) {
	kind, now := ownedKinds[last.Aggregate], h.cfg.Now()
	data, err := domain.Encode(events.Plain{Request: e.request})
	if err != nil {
		return nil, err
	}
	evs := []events.Event{{Type: kind.erased, Aggregate: last.Aggregate, ID: last.ID, Timestamp: now, Data: data}}
	if err := kind.strip(&last.Event, &evs[0]); err != nil {
		return nil, err
	}
	return evs, h.complete(ctx, evs, headAt(last), cmd, now)
}
