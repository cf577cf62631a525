package history

import (
	"fmt"

	"github.com/tidemark-engine/tidemark/events"
)

// Chains checks the digest chain of every aggregate of a partition whose events are
// read in order.
type Chains struct {
	ends map[events.AggregateName]chainEnd
}

// chainEnd is the last event read of an aggregate. Version 0 means that the event
// could not be decoded; the next event is then not checked.
type chainEnd struct {
	version uint64
	digest  string
}

// NewChains returns Chains without any event.
func NewChains() *Chains { return &Chains{ends: map[events.AggregateName]chainEnd{}} }

// Knows reports whether an event of the aggregate was read.
func (c *Chains) Knows(s events.AggregateName) bool {
	_, ok := c.ends[s]
	return ok
}

// Begin sets the event that the next event of the aggregate must follow.
func (c *Chains) Begin(rec *events.Record) { c.ends[rec.Name] = chainEnd{rec.Version, rec.Digest} }

// Follow checks that an event follows the last one of its aggregate: its version is
// the next and its digest matches. After an error the next event is checked against
// this one. Follow does not check an event that cannot be decoded, nor the event
// after it.
func (c *Chains) Follow(m *Message) error {
	last, known := c.ends[m.Name]
	if m.Bad != nil {
		c.ends[m.Name] = chainEnd{}
		return nil
	}
	c.Begin(&m.Record)
	if known && last.version == 0 {
		return nil
	}
	if m.Version != last.version+1 {
		return fmt.Errorf("%s: revision %d of partition %d has version %d where %d follows: an event is missing",
			m.Name, m.Revision, m.Partition, m.Version, last.version+1)
	}
	digest, err := events.Chain(last.digest, &m.Event)
	if err != nil {
		return fmt.Errorf("%s: revision %d of partition %d: %w", m.Name, m.Revision, m.Partition, err)
	}
	if digest != m.Digest {
		return fmt.Errorf("%s: revision %d of partition %d (version %d) has digest %.12s, but its content and the previous digest give %.12s: an event was changed",
			m.Name, m.Revision, m.Partition, m.Version, m.Digest, digest)
	}
	return nil
}
