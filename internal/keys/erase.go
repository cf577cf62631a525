package keys

import (
	"context"
	"errors"
	"fmt"
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
	return ids(e.record.Retired), Settle, nil
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
		err = r.store.Shred(ctx, agentPrefix+agent, false)
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// Pending is an erased agent whose read models are not cleaned yet.
type Pending struct {
	Agent     string `json:"agent"`
	Command   string `json:"command"`
	Reason    string `json:"reason"`
	Partition int    `json:"partition"`
	Revision  uint64 `json:"revision"` // of the event agent.erased; 0 = the command was interrupted before it
}

// SetPending stores that the read models of an agent must be cleaned.
func (r *Ring) SetPending(ctx context.Context, p Pending) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	for {
		_, revision, err := r.store.Get(ctx, pendingPrefix+p.Agent)
		if err == nil {
			_, err = r.store.Put(ctx, pendingPrefix+p.Agent, body, revision)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrChanged) {
			return unavailable(err)
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
		all = append(all, p)
	}
	return all, nil
}

// ClearPending removes the note of SetPending.
func (r *Ring) ClearPending(ctx context.Context, agent string) error {
	return r.store.Shred(ctx, pendingPrefix+agent, true)
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
