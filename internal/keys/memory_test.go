package keys_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tidemark-engine/tidemark/internal/keys"
)

// memory is a Store that several rings share, as engines share a server.
type memory struct {
	mu        sync.Mutex
	seq       uint64
	names     map[string][]stored
	followers []func(string, uint64)
	deaf      bool // no follower hears of changes
	fail      error
}

type stored struct {
	seq  uint64
	body []byte
}

func newMemory() *memory { return &memory{names: map[string][]stored{}} }

func (m *memory) Get(_ context.Context, name string) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.names[name]
	if len(all) == 0 || m.fail != nil {
		return nil, 0, m.fail
	}
	return all[len(all)-1].body, all[len(all)-1].seq, nil
}

func (m *memory) Put(_ context.Context, name string, body []byte, after uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, last := m.names[name], uint64(0)
	if len(all) > 0 {
		last = all[len(all)-1].seq
	}
	if last != after {
		return 0, keys.ErrChanged
	}
	m.seq++
	m.names[name] = append(all, stored{m.seq, body})
	for _, f := range m.followers {
		if !m.deaf {
			f(name, m.seq)
		}
	}
	return m.seq, nil
}

func (m *memory) Shred(_ context.Context, name string, upTo uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.names[name]
	if n := len(all); n > 0 && upTo == 0 {
		upTo = all[n-1].seq - 1
	}
	m.names[name] = slices.DeleteFunc(all, func(s stored) bool { return s.seq <= upTo })
	return nil
}

func (m *memory) Names(_ context.Context, prefix string) (names []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range maps.Keys(m.names) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (m *memory) Last(context.Context) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seq, m.fail
}

func (m *memory) Follow(_ context.Context, _ uint64, changed func(string, uint64)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.followers = append(m.followers, changed)
	return nil
}

// all is every byte in the store.
func (m *memory) all() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b []byte
	for _, of := range m.names {
		for _, s := range of {
			b = append(b, s.body...)
		}
	}
	return b
}
