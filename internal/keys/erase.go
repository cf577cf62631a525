package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// An erasure has three steps, each of which may be repeated: Retire, after which all
// engines encrypt with a new key; the caller then deletes the entries that retired
// keys have encrypted; Destroy.

// Retire retires the agent's key for the command that erases, and returns the ids of
// the retired keys, those of an earlier erasure that was interrupted among them. Every
// engine has heard of it once the returned time has passed.
func (r *Ring) Retire(ctx context.Context, agent, command string) ([]string, time.Duration, error) {
	e, err := r.update(ctx, agent, func(rec *Record) (bool, error) {
		if rec.Command == command || rec.Current == nil && len(rec.Retired) == 0 {
			return false, nil // begun before, or there is nothing to retire
		}
		if rec.Current != nil {
			rec.Retired = append(rec.Retired, *rec.Current)
		}
		rec.Current, rec.Command = nil, command
		return true, nil
	})
	switch {
	case err != nil:
		return nil, 0, err
	case e.record.Command == command && len(e.record.Retired) == 0:
		return e.record.Destroyed, 0, nil
	}
	return ids(e.record.Retired), settle, nil
}

func ids(all []DataKey) []string {
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].ID
	}
	return names
}

// Destroy destroys the retired keys: no copy of them is left in the store.
func (r *Ring) Destroy(ctx context.Context, agent, command string) error {
	_, err := r.update(ctx, agent, func(rec *Record) (bool, error) {
		if len(rec.Retired) == 0 {
			return false, nil
		}
		rec.Destroyed, rec.Retired, rec.Command = ids(rec.Retired), nil, command
		return true, nil
	})
	if err == nil {
		err = r.store.Shred(ctx, agentPrefix+agent, 0)
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// Pending is an erased agent whose read models are not cleaned yet. There is one note of an
// agent, also where several commands have erased it meanwhile.
type Pending struct {
	Agent     string `json:"agent"`
	Command   string `json:"command"`
	Reason    string `json:"reason"`
	Partition int    `json:"partition"`
	Revision  uint64 `json:"revision"` // of the event agent.erased; 0 = the command was interrupted before it
	// Earlier are other commands that have erased the agent since it was cleaned, and
	// Interrupted those of them that have no event agent.erased.
	Earlier     []string `json:"earlier,omitempty"`
	Interrupted []string `json:"interrupted,omitempty"`

	Noted uint64 `json:"-"` // revision of the note; set by EachPending
}

// Commands are all commands whose erasures are to be cleaned.
func (p *Pending) Commands() []string { return append([]string{p.Command}, p.Earlier...) }

// after adds the note that is there. answered is the command that has its answer now.
func (p Pending) after(old Pending, answered string) Pending {
	add := func(all []string, command string) []string {
		if command == p.Command || slices.Contains(all, command) {
			return all
		}
		return append(slices.Clone(all), command)
	}
	switch {
	case old.Command == p.Command || old.Command == answered:
		p.Revision = max(p.Revision, old.Revision)
	case p.Revision > 0 && (old.Revision == 0 || old.Revision > p.Revision): // another command is under way, or came later
		command := p.Command
		p = old
		p.Earlier = add(p.Earlier, command)
		return p
	case old.Revision == 0:
		p.Interrupted = add(p.Interrupted, old.Command)
	}
	for _, command := range old.Commands() {
		p.Earlier = add(p.Earlier, command)
	}
	for _, command := range old.Interrupted {
		p.Interrupted = add(p.Interrupted, command)
	}
	return p
}

// SetPending stores that the read models of an agent must be cleaned, and returns the note.
// answered is the command that has its answer now; empty = none.
func (r *Ring) SetPending(ctx context.Context, p Pending, answered string) (Pending, error) {
	for {
		known, revision, err := r.store.Get(ctx, pendingPrefix+p.Agent)
		if err != nil {
			return p, unavailable(err)
		}
		note := p
		if revision > 0 {
			var old Pending
			if err := json.Unmarshal(known, &old); err != nil {
				return p, fmt.Errorf("the pending erasure of %s cannot be read: %w", p.Agent, err)
			}
			note = p.after(old, answered)
		}
		body, err := json.Marshal(note)
		if err != nil {
			return p, err
		}
		if _, err = r.store.Put(ctx, pendingPrefix+p.Agent, body, revision); err == nil {
			return note, nil
		}
		if !errors.Is(err, ErrChanged) {
			return p, unavailable(err)
		}
	}
}

// IsPending reports whether the read models of an agent are still to be cleaned.
func (r *Ring) IsPending(ctx context.Context, agent string) (bool, error) {
	_, revision, err := r.store.Get(ctx, pendingPrefix+agent)
	if err != nil {
		return false, unavailable(err)
	}
	return revision > 0, nil
}

// EachPending returns the agents whose read models are to be cleaned.
func (r *Ring) EachPending(ctx context.Context) ([]Pending, error) {
	names, err := r.store.Names(ctx, pendingPrefix)
	if err != nil {
		return nil, err
	}
	var all []Pending
	for _, name := range names {
		body, revision, err := r.store.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		var p Pending
		if revision == 0 {
			continue
		}
		if err := json.Unmarshal(body, &p); err != nil {
			return nil, fmt.Errorf("the pending erasure %s cannot be read: %w", name, err)
		}
		p.Noted = revision
		all = append(all, p)
	}
	return all, nil
}

// ClearPending removes a note of EachPending. A later one stays.
func (r *Ring) ClearPending(ctx context.Context, p *Pending) error {
	return r.store.Shred(ctx, pendingPrefix+p.Agent, p.Noted)
}

// Erased lists the agents whose keys an erasure has destroyed.
func (r *Ring) Erased(ctx context.Context) ([]string, error) {
	names, err := r.store.Names(ctx, agentPrefix)
	if err != nil {
		return nil, err
	}
	var agents []string
	for _, name := range names {
		body, _, err := r.store.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		var rec Record
		if json.Unmarshal(body, &rec) == nil && len(rec.Destroyed) > 0 {
			agents = append(agents, strings.TrimPrefix(name, agentPrefix))
		}
	}
	return agents, nil
}
