package tiers

import (
	"context"
	"testing"

	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// slowJournal blocks each answer of Last until open is closed.
type slowJournal struct {
	*fakeJournal
	read chan struct{} // receives a value after each read
	open chan struct{}
}

func (j *slowJournal) Last(ctx context.Context, agent, key string) (readmodel.Entry, bool, uint64, error) {
	e, found, revision, err := j.fakeJournal.Last(ctx, agent, key)
	j.read <- struct{}{}
	<-j.open
	return e, found, revision, err
}

// Readers share a read of the lower tiers, but not one that began before the position they ask for
// was reached.
func TestASharedReadIsNotOlderThanTheToken(t *testing.T) {
	m, _ := following(1)
	j := &slowJournal{fakeJournal: &fakeJournal{}, read: make(chan struct{}, 9), open: make(chan struct{})}
	tiers := &Tiers{Memory: m, Hot: j, HotProgress: &j.hot, Journal: j}
	j.append("k", false)
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := tiers.Get(t.Context(), "a", "k", Hot, 0)
		first <- err
	}()
	harness.Receive(t, "the first reader", j.read)
	j.append("k", true)
	j.hot.at.Store(2)
	go func() {
		_, err := tiers.Get(t.Context(), "a", "k", Hot, 2)
		second <- err
	}()
	harness.Receive(t, "the second reader", j.read)
	close(j.open)
	if err := harness.Receive(t, "an answer", first); err != nil {
		t.Errorf("before the deletion: %v", err)
	}
	if err := harness.Receive(t, "an answer", second); err == nil {
		t.Error("after the deletion, with its token, the entry is still there")
	}
}
