package verify

import (
	"context"
	"math/rand/v2"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Places are parts of something, small and of about one size, that can be gone
// through one by one or at random, without knowing what is in them.
type Places interface {
	// Places is how many there are now.
	Places(ctx context.Context) (int, error)
	// At are the streams whose rows or events are at a place now.
	At(ctx context.Context, place int) ([]events.Stream, error)
}

// journalPlace is how many revisions one place of the journal has.
const journalPlace = 256

// Revisions are the places of a journal: its events, in their order, partition
// by partition. What was trimmed has left each stream's last event there.
type Revisions struct {
	Journal Journal
	Ends    bool // only streams whose last event lies at the place: each is at one place
}

// Places implements Places.
func (r Revisions) Places(ctx context.Context) (int, error) {
	_, n, err := r.partition(ctx, -1)
	return n, err
}

// partition finds the partition of a place, and the place in it; -1 counts all.
func (r Revisions) partition(ctx context.Context, place int) (partition, rest int, err error) {
	all := 0
	for p := range r.Journal.Partitions() {
		head, err := r.Journal.Head(ctx, p)
		if err != nil {
			return 0, 0, err
		}
		n := (int(head) + journalPlace - 1) / journalPlace
		if place >= all && place < all+n {
			return p, place - all, nil
		}
		all += n
	}
	return 0, all, nil
}

// At implements Places.
func (r Revisions) At(ctx context.Context, place int) ([]events.Stream, error) {
	p, rest, err := r.partition(ctx, place)
	if err != nil {
		return nil, err
	}
	first := uint64(rest) * journalPlace
	head, err := r.Journal.Head(ctx, p)
	if err != nil {
		return nil, err
	}
	seen := map[events.Stream]bool{}
	var streams []events.Stream
	err = between(ctx, r.Journal, p, first, min(first+journalPlace, head), func(m history.Message) error {
		if !seen[m.Stream] {
			seen[m.Stream] = true
			streams = append(streams, m.Stream)
		}
		return nil
	})
	if err != nil || !r.Ends {
		return streams, err
	}
	ends, err := r.Journal.Ends(ctx, streams, history.Bound{}, history.Linearizable)
	if err != nil {
		return nil, err
	}
	here := streams[:0]
	for i := range ends {
		if ends[i].Revision <= first+journalPlace {
			here = append(here, streams[i])
		}
	}
	return here, nil
}

// Pick picks up to n streams at random: half of them by the journal's events,
// the others by the tiers' rows, so that one that the journal does not know is
// met too. Where n is about as many as there are, it is nearly all.
func Pick(ctx context.Context, journal Journal, tiers []Tier, n int) ([]events.Stream, error) {
	picked := map[events.Stream]bool{}
	if err := pick(ctx, Revisions{Journal: journal}, (n+1)/2, picked); err != nil {
		return nil, err
	}
	for i := range tiers {
		share := (n - len(picked)) / (len(tiers) - i)
		if err := pick(ctx, tiers[i].Places, share, picked); err != nil {
			return nil, err
		}
	}
	all := make([]events.Stream, 0, len(picked))
	for s := range picked {
		all = append(all, s)
	}
	return all, nil
}

// pick adds up to n streams that were not picked yet.
func pick(ctx context.Context, from Places, n int, picked map[events.Stream]bool) error {
	places, err := from.Places(ctx)
	if err != nil || n <= 0 {
		return err
	}
	each := (n + places - 1) / max(places, 1) // from one place
	for _, place := range some(places, n) {
		streams, err := from.At(ctx, place)
		if err != nil {
			return err
		}
		taken := 0
		for _, i := range rand.Perm(len(streams)) {
			if s := streams[i]; taken < each && n > 0 && !picked[s] {
				picked[s] = true
				taken++
				n--
			}
		}
		if n <= 0 {
			return nil
		}
	}
	return nil
}

// some are numbers below all, in random order and none twice: at least n where
// there are as many, with some to spare for places that bring nothing new.
func some(all, n int) []int {
	if all <= 8*n {
		return rand.Perm(all)
	}
	numbers, seen := make([]int, 0, 4*n), map[int]bool{}
	for len(numbers) < 4*n {
		if i := rand.IntN(all); !seen[i] {
			seen[i] = true
			numbers = append(numbers, i)
		}
	}
	return numbers
}
