package verify

import (
	"context"
	"math/rand/v2"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

// Chunks are parts of a store, small and of similar size, which can be visited in order or at
// random without knowing their content.
type Chunks interface {
	// Chunks returns their number now.
	Chunks(ctx context.Context) (int, error)
	// At returns the streams that have rows or events in a chunk now.
	At(ctx context.Context, place int) ([]events.AggregateName, error)
}

// chunkRevisions is the number of revisions in one chunk of the journal.
const chunkRevisions = 256

// Revisions are the chunks of a journal: its events in order, partition by partition. A trim
// leaves the last event of each stream.
type Revisions struct {
	Journal Journal
	Ends    bool // only streams whose last event is in the chunk: each is in one chunk
}

// Chunks implements the interface.
func (r Revisions) Chunks(ctx context.Context) (int, error) {
	_, n, err := r.partition(ctx, -1)
	return n, err
}

// partition returns the partition of a chunk, and the chunk's index in it; chunk -1 counts all.
func (r Revisions) partition(ctx context.Context, place int) (partition, rest int, err error) {
	all := 0
	for p := range r.Journal.Partitions() {
		head, err := r.Journal.Head(ctx, p)
		if err != nil {
			return 0, 0, err
		}
		n := (int(head) + chunkRevisions - 1) / chunkRevisions
		if place >= all && place < all+n {
			return p, place - all, nil
		}
		all += n
	}
	return 0, all, nil
}

// At implements Chunks.
func (r Revisions) At(ctx context.Context, place int) ([]events.AggregateName, error) {
	p, rest, err := r.partition(ctx, place)
	if err != nil {
		return nil, err
	}
	first := uint64(rest) * chunkRevisions
	head, err := r.Journal.Head(ctx, p)
	if err != nil {
		return nil, err
	}
	seen := map[events.AggregateName]bool{}
	var streams []events.AggregateName
	err = readRange(ctx, r.Journal, p, first, min(first+chunkRevisions, head), func(m history.Message) error {
		if !seen[m.Name] {
			seen[m.Name] = true
			streams = append(streams, m.Name)
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
		if ends[i].Revision <= first+chunkRevisions {
			here = append(here, streams[i])
		}
	}
	return here, nil
}

// Pick picks up to n streams at random: half of them by the journal's events, the others by the
// tiers' rows, to find rows that the journal does not have. When n is about the number of streams,
// it returns nearly all.
func Pick(ctx context.Context, journal Journal, tiers []Tier, n int) ([]events.AggregateName, error) {
	picked := map[events.AggregateName]bool{}
	if err := pick(ctx, Revisions{Journal: journal}, (n+1)/2, picked); err != nil {
		return nil, err
	}
	for i := range tiers {
		share := (n - len(picked)) / (len(tiers) - i)
		if err := pick(ctx, tiers[i].Chunks, share, picked); err != nil {
			return nil, err
		}
	}
	all := make([]events.AggregateName, 0, len(picked))
	for s := range picked {
		all = append(all, s)
	}
	return all, nil
}

// pick adds up to n streams that were not picked yet.
func pick(ctx context.Context, from Chunks, n int, picked map[events.AggregateName]bool) error {
	places, err := from.Chunks(ctx)
	if err != nil || n <= 0 {
		return err
	}
	each := (n + places - 1) / max(places, 1) // per chunk
	for _, place := range randomIndexes(places, n) {
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

// randomIndexes returns distinct numbers below all, in random order: at least n if there are as
// many, and some more for chunks without a new stream.
func randomIndexes(all, n int) []int {
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
