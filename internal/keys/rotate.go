package keys

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
)

// masterRecord says which master key wraps the keys of the data set.
type masterRecord struct {
	ID      string `json:"id"`
	DataSet string `json:"data_set"` // id of this key store; the journal knows it too
	// Check is the data set's id wrapped by the master key: who opens it has the key.
	Check []byte `json:"check"`
}

// Masters are the master keys at hand.
func (r *Ring) Masters() Masters {
	if m := r.masters.Load(); m != nil {
		return *m
	}
	return nil
}

// reload loads the master keys again and reports whether that succeeded.
func (r *Ring) reload(ctx context.Context) bool {
	masters, err := r.source(ctx)
	if err != nil {
		r.log.Error("the master key cannot be read again; known keys stay in use", "error", err)
		return false
	}
	old := r.Masters()
	r.masters.Store(&masters)
	if len(old) > 0 && masters[0].ID != old[0].ID {
		r.log.Info("the master key has changed", "id", masters[0].ID)
	}
	return true
}

func (r *Ring) master(ctx context.Context) (m masterRecord, revision uint64, err error) {
	body, revision, err := r.store.Get(ctx, masterName)
	if err != nil || revision == 0 {
		return m, 0, err
	}
	return m, revision, json.Unmarshal(body, &m)
}

// Wrapping returns the id of the master key that wraps new keys of the data set.
func (r *Ring) Wrapping(ctx context.Context) (id string, err error) {
	m, _, err := r.master(ctx)
	if err != nil {
		return "", fmt.Errorf("read the key store: %w", err)
	}
	return m.ID, nil
}

// Load loads the master keys and checks them against the data set. create makes the
// data set's record where there is none, with the id; without it there must be one.
// It returns the id of the data set.
func (r *Ring) Load(ctx context.Context, create string) (dataSet string, err error) {
	masters, err := r.source(ctx)
	if err != nil {
		return "", err
	}
	r.masters.Store(&masters)
	for {
		m, revision, err := r.master(ctx)
		switch {
		case err != nil:
			return "", fmt.Errorf("read the key store: %w", err)
		case revision == 0 && create == "":
			return "", ErrNoStore
		case revision == 0:
			m = masterRecord{ID: masters[0].ID, DataSet: create, Check: masters[0].Wrap([]byte(create), masterName)}
			if err := r.putMaster(ctx, &m, 0); !errors.Is(err, ErrChanged) {
				return create, err
			}
			continue
		}
		k := masters.Find(m.ID)
		if k == nil {
			return "", fmt.Errorf("%w: the keys are wrapped by master key %s, and the one given is %s", ErrWrongMaster, m.ID, masters[0].ID)
		}
		if _, err := k.Unwrap(m.Check, masterName); err != nil {
			return "", fmt.Errorf("%w: %w", ErrWrongMaster, err)
		}
		return m.DataSet, nil
	}
}

var (
	// ErrNoStore means that there is no key store.
	ErrNoStore = errors.New("there is no key store")
	// ErrWrongMaster means that the master key is not the one of the data set.
	ErrWrongMaster = errors.New("the master key is not the one of this data set")
)

func (r *Ring) putMaster(ctx context.Context, m *masterRecord, after uint64) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err = r.store.Put(ctx, masterName, body, after); err == nil && after > 0 {
		err = r.store.Shred(ctx, masterName, 0)
	}
	return err
}

// wrapping returns the master key that wraps new keys: the one that the data set has now,
// which is not the first before a rotation and after one that was interrupted. It refuses
// where the engine does not have that key.
func (r *Ring) wrapping(ctx context.Context) (*Master, error) {
	m, revision, err := r.master(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	if revision == 0 {
		return nil, unavailable(ErrNoStore)
	}
	k := r.Masters().Find(m.ID)
	if k == nil && r.reload(ctx) {
		k = r.Masters().Find(m.ID)
	}
	if k == nil {
		return nil, domain.Errorf(domain.Unavailable, "keys.master_changed",
			"the master key was rotated to %s and this engine has %s: give the engine the new one; then send the same command id again", m.ID, r.Masters()[0].ID)
	}
	return k, nil
}

// Rotate wraps all keys with the first of the master keys, while engines serve, and
// returns how many records it has changed. The others must be at hand. It may be
// repeated; step is called for each agent.
func (r *Ring) Rotate(ctx context.Context, step func()) (changed int, err error) {
	masters, err := r.source(ctx)
	if err != nil {
		return 0, err
	}
	r.masters.Store(&masters)
	m, revision, err := r.master(ctx)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read the key store: %w", err)
	case revision == 0:
		return 0, ErrNoStore
	case masters.Find(m.ID) == nil:
		return 0, fmt.Errorf("%w: the keys are wrapped by master key %s, which is not among those given", ErrWrongMaster, m.ID)
	}
	if m.ID != masters[0].ID {
		m.ID, m.Check = masters[0].ID, masters[0].Wrap([]byte(m.DataSet), masterName)
		if err := r.putMaster(ctx, &m, revision); err != nil {
			return 0, fmt.Errorf("store the id of the new master key: %w", err)
		}
	}
	// An engine may have begun to store a key with the old one: until a pass finds none.
	for pass := 0; ; pass++ {
		n, err := r.rewrap(ctx, step)
		changed += n
		if err != nil || n == 0 && pass > 0 {
			return changed, err
		}
	}
}

func (r *Ring) rewrap(ctx context.Context, step func()) (changed int, err error) {
	names, err := r.store.Names(ctx, agentPrefix)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		agent := strings.TrimPrefix(name, agentPrefix)
		did := false
		_, err := r.update(ctx, agent, func(rec *Record) (bool, error) {
			did, err = rec.rewrap(agent, r.Masters())
			return did, err
		})
		if err == nil && did {
			err = r.store.Shred(ctx, name, 0)
			changed++
		}
		if err != nil {
			return changed, fmt.Errorf("wrap the key of agent %s: %w", agent, err)
		}
		step()
	}
	return changed, nil
}
