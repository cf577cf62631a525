package keys

import (
	"context"
	"fmt"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Seal encrypts the content of an event where it holds content of an agent. The
// version of the event must be set. The first event of an agent makes its key; of
// two engines that do so at once both use the one that was stored first. Content that
// an event carries over from earlier ones gets no new key while the keys of those are being
// destroyed: it would outlive them. Fails with 503 keys.unavailable.
func (r *Ring) Seal(ctx context.Context, ev *events.Event, carries bool) error {
	if !ev.Sealable() {
		return nil
	}
	agent := ev.KeyAgent()
	e, err := r.lookup(ctx, agent, false)
	if err == nil && carries && len(e.record.Retired) > 0 {
		return domain.Errorf(domain.Unavailable, "keys.unavailable", "the content of agent %s is being erased: send the same command id again", agent)
	}
	if err == nil && e.record.Current == nil {
		e, err = r.update(ctx, agent, func(rec *Record) (bool, error) {
			if rec.Current != nil {
				return false, nil
			}
			master, err := r.wrapping(ctx)
			if err == nil {
				rec.Current, _, err = newDataKey(agent, master)
			}
			return err == nil, err
		})
	}
	if err != nil {
		return err
	}
	id := e.record.Current.ID
	ev.Seal(id, e.keys[id].Seal(nil, nil, ev.Content(), ev.SealContext()))
	return nil
}

// Open decrypts the content of an event. An event whose key was destroyed becomes
// what readers see of it; see events.Event.Erase. Fails with 503 keys.unavailable
// where the key cannot be read now.
func (r *Ring) Open(ctx context.Context, ev *events.Event) error {
	id, box, sealed := ev.Sealed()
	if !sealed || ev.Erased {
		return nil
	}
	agent := ev.KeyAgent()
	e, err := r.lookup(ctx, agent, false)
	if err != nil {
		return err
	}
	// A retired key may be destroyed at any time, and a key may be new.
	if current := e.record.Current; (current == nil || current.ID != id) && !e.gone[id] {
		if e, err = r.lookup(ctx, agent, true); err != nil {
			return err
		}
		if e.keys[id] == nil && !e.gone[id] {
			e = r.remember(agent, e, id)
		}
	}
	key := e.keys[id]
	if key == nil {
		ev.Erase()
		return nil
	}
	data, err := key.Open(nil, nil, box, ev.SealContext())
	if err != nil {
		return fmt.Errorf("%w: %s version %d of %s cannot be decrypted with key %s", events.ErrDamaged, ev.Type, ev.Version, ev.ID, id)
	}
	return ev.Unseal(data)
}

// remember caches that a key was destroyed. A destroyed key never comes back.
func (r *Ring) remember(agent string, e *entry, id string) *entry {
	next := *e
	next.gone = map[string]bool{id: true}
	for known := range e.gone {
		next.gone[known] = true
	}
	r.keep(agent, &next)
	return &next
}

// Closed opens nothing: it refuses to read encrypted events, which without a key would
// look like damaged ones.
type Closed struct{}

// Open fails with 503 keys.missing for an encrypted event.
func (Closed) Open(_ context.Context, ev *events.Event) error {
	if _, _, sealed := ev.Sealed(); !sealed {
		return nil
	}
	return domain.Errorf(domain.Unavailable, "keys.missing",
		"the journal has encrypted events and this engine has no keys: start it with --encryption on and the master key")
}
