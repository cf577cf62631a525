package keystore_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/keystore"
	"github.com/tidemark-engine/tidemark/internal/keys"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestStore(t *testing.T) {
	t.Parallel()
	nc := support.Engine(t, support.NATS(t))
	if s, err := keystore.OpenExisting(t.Context(), nc); s != nil || err != nil {
		t.Errorf("where there is none: %v, %v", s, err)
	}
	s, err := keystore.Open(t.Context(), nc)
	harness.Must(t, err)
	changes := make(chan string, 10)
	harness.Must(t, s.Follow(t.Context(), 0, func(name string, _ uint64) { changes <- name }))
	if body, revision, err := s.Get(t.Context(), "agent.a"); body != nil || revision != 0 || err != nil {
		t.Errorf("an unknown name: %s, %d, %v", body, revision, err)
	}
	first, err := s.Put(t.Context(), "agent.a", []byte("one"), 0)
	harness.Must(t, err)
	if name := harness.Receive(t, "the change", changes); name != "agent.a" {
		t.Errorf("%s has changed", name)
	}
	if _, err := s.Put(t.Context(), "agent.a", []byte("lost"), 0); !errors.Is(err, keys.ErrChanged) {
		t.Errorf("the second of two: %v", err)
	}
	second, err := s.Put(t.Context(), "agent.a", []byte("two"), first)
	harness.Must(t, err)
	noted, err := s.Put(t.Context(), "pending.a", []byte("p"), 0)
	harness.Must(t, err)
	if last, err := s.Last(t.Context()); err != nil || last != second+1 {
		t.Errorf("the last revision of all names is %d, %v; want %d", last, err, second+1)
	}
	harness.Must(t, s.Shred(t.Context(), "agent.a", 0))
	if body, revision, err := s.Get(t.Context(), "agent.a"); string(body) != "two" || revision != second || err != nil {
		t.Errorf("after the shredding: %s, %d, %v", body, revision, err)
	}
	js, err := jetstream.New(nc, harness.Patient)
	harness.Must(t, err)
	st, err := js.Stream(t.Context(), keystore.StreamName)
	harness.Must(t, err)
	if _, err := st.GetMsg(t.Context(), first); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("the shredded message: %v", err)
	}
	harness.Must(t, s.Shred(t.Context(), "pending.a", noted))
	if names, err := s.Names(t.Context(), ""); err != nil || !slices.Equal(names, []string{"agent.a"}) {
		t.Errorf("names %v", names)
	}
}
