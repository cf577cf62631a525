package keys

import (
	"crypto/cipher"
	"encoding/hex"
	"fmt"
)

// DataKey is a key of an agent as the store has it.
type DataKey struct {
	ID      string `json:"id"`
	Master  string `json:"master"`  // id of the master key that wraps it
	Wrapped []byte `json:"wrapped"` // base64
}

// Record is what the store has of one agent's keys.
type Record struct {
	Current *DataKey `json:"current,omitempty"` // encrypts new events; nil = the next event makes one
	// Retired are the keys that an erasure is about to destroy. They encrypt nothing
	// any more.
	Retired []DataKey `json:"retired,omitempty"`
	Command string    `json:"command,omitempty"` // id of the command that began the erasure
	// Destroyed are the ids of the keys that the last erasure destroyed.
	Destroyed []string `json:"destroyed,omitempty"`
}

// all are the keys of the record.
func (r *Record) all() []*DataKey {
	var all []*DataKey
	if r.Current != nil {
		all = append(all, r.Current)
	}
	for i := range r.Retired {
		all = append(all, &r.Retired[i])
	}
	return all
}

// newDataKey makes a key for an agent.
func newDataKey(agent string, m *Master) (*DataKey, cipher.AEAD, error) {
	key := randomBytes(keyBytes)
	aead, err := newAEAD(key)
	if err != nil {
		return nil, nil, err
	}
	id := hex.EncodeToString(randomBytes(8))
	return &DataKey{ID: id, Master: m.ID, Wrapped: m.Wrap(key, purpose(agent, id))}, aead, nil
}

// purpose binds a wrapped key to its agent.
func purpose(agent, id string) string { return "agent " + agent + " " + id }

// open unwraps a key.
func (k *DataKey) open(agent string, masters Masters) (cipher.AEAD, error) {
	m := masters.Find(k.Master)
	if m == nil {
		return nil, fmt.Errorf("the key of agent %s is wrapped by master key %s: %w", agent, k.Master, errNoMaster)
	}
	key, err := m.Unwrap(k.Wrapped, purpose(agent, k.ID))
	if err != nil {
		return nil, err
	}
	return newAEAD(key)
}

// rewrap returns the record with all keys wrapped by the first of masters; changed
// is false where they are.
func (r *Record) rewrap(agent string, masters Masters) (changed bool, err error) {
	for _, k := range r.all() {
		if k.Master == masters[0].ID {
			continue
		}
		m := masters.Find(k.Master)
		if m == nil {
			return false, fmt.Errorf("the key of agent %s is wrapped by master key %s: %w", agent, k.Master, errNoMaster)
		}
		key, err := m.Unwrap(k.Wrapped, purpose(agent, k.ID))
		if err != nil {
			return false, err
		}
		k.Master, k.Wrapped, changed = masters[0].ID, masters[0].Wrap(key, purpose(agent, k.ID)), true
	}
	return changed, nil
}
