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

// restorePage is how many keys are restored at a time, all in flight together.
const restorePage = 1000

// Restore makes the keys of streams what the journal says, whatever is there:
// also where it claims an equal or a higher revision, and away where nothing
// lives. Streams of kinds without a bucket are passed over, those whose end
// cannot be folded, and those that the view leaves out.
//
// What is under a key is read before the journal's end is, and the put is
// guarded by it: whoever comes between, the view or another writer, makes the
// put fail and be looked at again, so that nothing newer is ever lost.
func (t *Hot) Restore(ctx context.Context, streams []events.Stream) error {
	byBucket := map[*Bucket][]events.Stream{}
	for _, s := range streams {
		if t.Leaves != nil && t.Leaves(t.journal.Partition(s.ID()), s) {
			continue // the view would not keep it level
		}
		if b, _ := t.place(s); b != nil {
			byBucket[b] = append(byBucket[b], s)
		}
	}
	for b, all := range byBucket {
		for len(all) > 0 {
			n := min(len(all), restorePage)
			if err := t.restore(ctx, b, all[:n]); err != nil {
				return err
			}
			all = all[n:]
		}
	}
	return nil
}

// place is where a stream's row is hot; no bucket where it is not.
func (t *Hot) place(s events.Stream) (*Bucket, string) {
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

func (t *Hot) restore(ctx context.Context, b *Bucket, streams []events.Stream) error {
	h := history.New(t.journal, nil, 0) // no losing writes here, so no archive either
	for round := 0; len(streams) > 0; round++ {
		if round > putRounds {
			return fmt.Errorf("bucket %s: %d keys are being written by somebody else", b.name, len(streams))
		}
		subjects := make([]string, len(streams))
		for i, s := range streams {
			_, key := t.place(s)
			subjects[i] = b.root + key
		}
		there, err := b.lastOf(ctx, subjects) // before the journal, see above
		if err != nil {
			return err
		}
		said, err := projections.StateOf(ctx, h, streams)
		if err != nil {
			return err
		}
		puts := t.differing(&said, there)
		b.send(ctx, puts, t.Header())
		if streams, err = t.restored(ctx, b, puts); err != nil {
			return err
		}
	}
	return nil
}

// differing are the puts that make what is there what the journal says.
func (t *Hot) differing(said *projections.Said, there map[string]*jetstream.RawStreamMsg) []put {
	var puts []put
	want := func(s events.Stream, revision uint64, value []byte) {
		_, key := t.place(s)
		p := put{key: key, revision: revision, value: value, stream: s}
		if row, found := there[key]; found {
			if value == nil && gone(row.Header) || value != nil && !gone(row.Header) && bytes.Equal(value, row.Data) {
				return
			}
			p.seq = row.Sequence
		} else if value == nil {
			return
		}
		puts = append(puts, p)
	}
	for i := range said.Entries {
		if e := &said.Entries[i]; e.Deleted {
			want(events.StateEntry(e.Agent, e.Key), e.Revision, nil)
		} else {
			want(events.StateEntry(e.Agent, e.Key), e.Revision, e.EncodeKV())
		}
	}
	for i := range said.Docs {
		if d := &said.Docs[i]; d.Deleted {
			want(readmodel.NameOf(d.Kind, d.ID, d.Key), d.Revision, nil)
		} else {
			want(readmodel.NameOf(d.Kind, d.ID, d.Key), d.Revision, d.EncodeKV())
		}
	}
	for _, s := range said.None {
		want(s, 0, nil)
	}
	return puts
}

// restored takes the answers and returns what must be looked at again.
func (t *Hot) restored(ctx context.Context, b *Bucket, puts []put) (again []events.Stream, err error) {
	for i := range puts {
		p := &puts[i]
		b.seqs.forget(p.key)
		err := p.ack.Err
		switch {
		case err == nil:
		case natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight):
			again = append(again, p.stream)
		case natsio.HasCode(err, natsio.CodeStreamFull, natsio.CodeMessageTooLarge), errors.Is(err, nats.ErrMaxPayload):
			if _, err := b.forget(ctx, p, err); err != nil { // as the view does
				return nil, err
			}
		default:
			return nil, fmt.Errorf("restore %s in bucket %s: %w", p.key, b.name, err)
		}
	}
	return again, nil
}
