package hot

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// restoreBatch is the number of keys that are restored at a time, all in flight
// together.
const restoreBatch = 1000

// Restore rewrites the rows of aggregates from the journal, also rows that claim
// an equal or a higher revision, and deletes the rows of deleted or unknown
// aggregates. It skips aggregates of kinds without a bucket, aggregates whose
// last event cannot be folded, and quarantined ones.
//
// Restore reads a key before it reads the last event from the journal, and the
// put expects the sequence of that read. A concurrent write, by the view or by
// another writer, therefore fails the put, and Restore reads both again: it
// never overwrites a newer row.
func (t *Hot) Restore(ctx context.Context, streams []events.AggregateName) error {
	byBucket := map[*Bucket][]events.AggregateName{}
	for _, s := range streams {
		if t.Quarantined != nil && t.Quarantined(t.journal.Partition(s.ID()), s) {
			continue // the view would not update the row
		}
		if b, _ := t.locate(s); b != nil {
			byBucket[b] = append(byBucket[b], s)
		}
	}
	for b, all := range byBucket {
		for len(all) > 0 {
			n := min(len(all), restoreBatch)
			if err := t.restore(ctx, b, all[:n]); err != nil {
				return err
			}
			all = all[n:]
		}
	}
	return nil
}

// locate returns the bucket and the key of an aggregate's row; the bucket is nil
// if rows of its kind have none.
func (t *Hot) locate(s events.AggregateName) (*Bucket, string) {
	kind, id, key := readmodel.RowOf(s)
	b := t.docs[kind]
	if kind == readmodel.KindEntry {
		b = t.entries
	}
	return b, hotKey(id, key)
}

func hotKey(id, key string) string {
	if key == "" {
		return id
	}
	return id + "." + key
}

func (t *Hot) restore(ctx context.Context, b *Bucket, streams []events.AggregateName) error {
	h := history.New(t.journal, nil, 0) // losing writes are not needed here, so no archive
	for round := 0; len(streams) > 0; round++ {
		if round > maxPutRetries {
			return fmt.Errorf("bucket %s: other writers keep changing %d keys; gave up after %d retries", b.name, len(streams), maxPutRetries)
		}
		subjects := make([]string, len(streams))
		for i, s := range streams {
			_, key := t.locate(s)
			subjects[i] = b.prefix + key
		}
		stored, err := b.lastMessages(ctx, subjects, history.Linearizable) // before the journal, see Restore
		if err != nil {
			return err
		}
		state, err := projections.StateOf(ctx, h, streams)
		if err != nil {
			return err
		}
		puts := t.differing(&state, stored)
		b.full.putAgain(puts)
		b.send(ctx, puts, t.Header())
		if streams, err = b.handleRestoreAcks(ctx, puts); err != nil {
			return err
		}
	}
	return nil
}

// differing returns the puts for the stored rows that differ from the journal's
// state.
func (t *Hot) differing(state *projections.RowStates, stored map[string]*jetstream.RawStreamMsg) []put {
	var puts []put
	compare := func(s events.AggregateName, revision uint64, value []byte) {
		_, key := t.locate(s)
		p := put{key: key, revision: revision, value: value, stream: s}
		if row, found := stored[key]; found {
			if value == nil && isMarker(row.Header) || value != nil && !isMarker(row.Header) && bytes.Equal(value, row.Data) {
				return
			}
			p.seq = row.Sequence
		} else if value == nil {
			return
		}
		puts = append(puts, p)
	}
	for i := range state.Entries {
		if e := &state.Entries[i]; e.Deleted {
			compare(events.StateEntry(e.Agent, e.Key), e.Revision, nil)
		} else {
			compare(events.StateEntry(e.Agent, e.Key), e.Revision, e.EncodeKV())
		}
	}
	for i := range state.Docs {
		if d := &state.Docs[i]; d.Deleted {
			compare(readmodel.NameOf(d.Kind, d.ID, d.Key), d.Revision, nil)
		} else {
			compare(readmodel.NameOf(d.Kind, d.ID, d.Key), d.Revision, d.EncodeKV())
		}
	}
	for _, s := range state.Absent {
		compare(s, 0, nil)
	}
	return puts
}

// handleRestoreAcks evaluates the acknowledgements and returns the aggregates to
// compare again.
func (b *Bucket) handleRestoreAcks(ctx context.Context, puts []put) (again []events.AggregateName, err error) {
	for i := range puts {
		p := &puts[i]
		b.seqs.remove(p.key)
		err := p.ack.Err
		switch {
		case err == nil:
		case natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight):
			again = append(again, p.stream)
		case natsio.HasCode(err, natsio.CodeStreamFull, natsio.CodeMessageTooLarge), errors.Is(err, nats.ErrMaxPayload):
			if _, err := b.dropKey(ctx, p, err); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("restore %s in bucket %s: %w", p.key, b.name, err)
		}
	}
	return again, nil
}
