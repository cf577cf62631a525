package history

import (
	"fmt"

	"github.com/tidemark-engine/tidemark/events"
)

// Chains follows the digest chain of every aggregate through a partition that
// is read in order.
type Chains struct{ ends map[events.Stream]chainEnd }

// chainEnd is the last event seen of a stream; without a version nothing is
// known of it, and the next event is taken as it is.
type chainEnd struct {
	version uint64
	digest  string
}

// NewChains has seen nothing yet.
func NewChains() *Chains { return &Chains{ends: map[events.Stream]chainEnd{}} }

// Knows tells whether an event of the stream was seen.
func (c *Chains) Knows(s events.Stream) bool {
	_, ok := c.ends[s]
	return ok
}

// Begin takes an event as the one that the next of its stream follows.
func (c *Chains) Begin(rec *events.Record) { c.ends[rec.Stream] = chainEnd{rec.Version, rec.Digest} }

// Follow checks that an event follows the last one of its stream. The error
// names what is wrong; the next event is then held against this one. Of an
// event that cannot be read, and of the one after it, nothing can be said.
func (c *Chains) Follow(m *Message) error {
	last, known := c.ends[m.Stream]
	if m.Bad != nil {
		c.ends[m.Stream] = chainEnd{}
		return nil
	}
	c.Begin(&m.Record)
	if known && last.version == 0 {
		return nil
	}
	if m.Version != last.version+1 {
		return fmt.Errorf("%s: revision %d of partition %d has version %d where %d follows: an event is missing",
			m.Stream, m.Revision, m.Partition, m.Version, last.version+1)
	}
	digest, err := events.Chain(last.digest, &m.Event)
	if err != nil {
		return fmt.Errorf("%s: revision %d of partition %d: %w", m.Stream, m.Revision, m.Partition, err)
	}
	if digest != m.Digest {
		return fmt.Errorf("%s: revision %d of partition %d (version %d) has digest %.12s, its content and its past say %.12s: an event was changed",
			m.Stream, m.Revision, m.Partition, m.Version, m.Digest, digest)
	}
	return nil
}
