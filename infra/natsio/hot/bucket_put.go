package hot

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// put is one change on its way into a bucket. It is guarded twice: by the
// bucket's sequence of the key, so that no other writer comes between, and by
// the revision in the value, so that a newer row stays.
type put struct {
	key      string
	value    []byte        // nil = deletion
	revision uint64        // in the journal; 0 = it has nothing of this key
	first    bool          // it is its aggregate's first event: nothing of ours should be there
	stream   events.Stream // set where Restore puts
	seq      uint64        // the bucket's sequence that it expects
	ack      natsio.Ack
}

// putRounds bounds how often a batch fights others for its keys.
const putRounds = 10

// stored tells whether the journal has a revision.
type stored func(revision uint64) (bool, error)

// putAll writes the changes, each unless the bucket has it or newer.
func (b *Bucket) putAll(ctx context.Context, puts []put, header nats.Header, known stored) error {
	puts, err := b.prepare(ctx, puts, known)
	for round := 0; err == nil && len(puts) > 0; round++ {
		if round > putRounds {
			return fmt.Errorf("bucket %s: %d keys are being written by somebody else", b.name, len(puts))
		}
		b.send(ctx, puts, header)
		puts, err = b.settle(ctx, puts, known)
	}
	return err
}

// prepare finds the sequence each put must expect: remembered, none for what is
// new, or read for all unknown keys in few requests. Puts that are not needed
// are dropped.
func (b *Bucket) prepare(ctx context.Context, puts []put, known stored) ([]put, error) {
	kept, unknown := puts[:0], []put(nil)
	for _, p := range puts {
		// The sequence of a newer row would let an older one through.
		last, ok := b.seqs.get(p.key)
		switch {
		case ok && last.revision >= p.revision:
			continue
		case !ok && !p.first:
			unknown = append(unknown, p)
			continue
		}
		p.seq = last.seq
		kept = append(kept, p)
	}
	unknown, err := b.look(ctx, unknown, known)
	return append(kept, unknown...), err
}

// look reads what is under the keys of puts now, and drops those that have
// nothing to do any more.
func (b *Bucket) look(ctx context.Context, puts []put, known stored) ([]put, error) {
	subjects := make([]string, len(puts))
	for i := range puts {
		subjects[i] = b.root + puts[i].key
	}
	found, err := b.lastOf(ctx, subjects)
	if err != nil {
		return nil, err
	}
	kept := puts[:0]
	for _, p := range puts {
		p.seq = 0
		if msg, ok := found[p.key]; ok {
			there, err := newer(msg, p.revision, known)
			if err != nil {
				return nil, err
			}
			if there {
				continue
			}
			p.seq = msg.Sequence
		}
		kept = append(kept, p)
	}
	return kept, nil
}

// lastOf reads the last message of many subjects.
func (b *Bucket) lastOf(ctx context.Context, subjects []string) (map[string]*jetstream.RawStreamMsg, error) {
	found := make(map[string]*jetstream.RawStreamMsg, len(subjects))
	err := natsio.LastMessages(ctx, b.nc, "KV_"+b.name, natsio.LastQuery{Subjects: subjects}, func(msg *jetstream.RawStreamMsg) {
		found[strings.TrimPrefix(msg.Subject, b.root)] = msg
	})
	if err != nil {
		return nil, fmt.Errorf("read %d keys of bucket %s: %w", len(subjects), b.name, err)
	}
	return found, nil
}

// newer tells whether what is in the bucket is at least as new as a revision.
// What cannot be read is not, nor what claims a revision that the journal has
// not: somebody else wrote it.
func newer(msg *jetstream.RawStreamMsg, revision uint64, known stored) (bool, error) {
	switch there := revisionOf(msg); {
	case there <= revision:
		return there == revision, nil
	default:
		return known(there)
	}
}

// revisionOf is the revision of a row or a marker; 0 = it says none.
func revisionOf(msg *jetstream.RawStreamMsg) uint64 {
	if gone(msg.Header) {
		rev, err := strconv.ParseUint(msg.Header.Get(natsio.RevisionHeader), 10, 64)
		if err != nil {
			return 0
		}
		return rev
	}
	var row struct {
		Revision uint64 `json:"revision"`
	}
	if json.Unmarshal(msg.Data, &row) != nil {
		return 0
	}
	return row.Revision
}

// send puts all at once and notes the answers.
func (b *Bucket) send(ctx context.Context, puts []put, header nats.Header) {
	msgs, all, seqs := make([]*nats.Msg, len(puts)), make([]nats.Msg, len(puts)), make([]string, len(puts))
	for i := range puts {
		p, msg := &puts[i], &all[i]
		seqs[i] = strconv.FormatUint(p.seq, 10)
		msg.Subject, msg.Data, msg.Header = b.root+p.key, p.value, make(nats.Header, 4)
		msg.Header[positionHeader] = header[positionHeader]
		if p.value == nil {
			msg.Header[kvOperationHeader] = []string{"DEL"}
			msg.Header[natsio.RevisionHeader] = []string{strconv.FormatUint(p.revision, 10)}
		}
		msg.Header[jetstream.ExpectedLastSubjSeqHeader] = seqs[i : i+1 : i+1]
		msgs[i] = msg
	}
	for i, ack := range b.pipeline.Publish(ctx, msgs...) {
		puts[i].ack = ack
	}
}

// settle takes the answers and returns the puts that must be sent again.
func (b *Bucket) settle(ctx context.Context, puts []put, known stored) ([]put, error) {
	var again, refused []put
	for i := range puts {
		p := &puts[i]
		err := p.ack.Err
		switch {
		case err == nil:
			b.seqs.set(p.key, position{p.ack.Seq, p.revision})
		case natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight):
			b.seqs.forget(p.key)
			refused = append(refused, *p)
		case natsio.HasCode(err, natsio.CodeStreamFull, natsio.CodeMessageTooLarge), errors.Is(err, nats.ErrMaxPayload):
			retry, err := b.forget(ctx, p, err)
			if err != nil {
				return nil, err
			}
			if retry {
				again = append(again, *p)
			}
		default:
			return nil, fmt.Errorf("put %s into bucket %s: %w", p.key, b.name, err)
		}
	}
	refused, err := b.look(ctx, refused, known)
	return append(again, refused...), err
}

// forget removes a key whose new value the bucket refuses: absent is answered
// by the next tier, an old value would be a stale answer. It tells whether a
// marker is to be put instead, so that no fill under way brings an old value
// back; where there is no room even for that, the key is gone without one.
func (b *Bucket) forget(ctx context.Context, p *put, why error) (bool, error) {
	b.log.Warn("the bucket refuses a value; its key is removed and read from the next tier",
		"bucket", b.name, "key", p.key, "error", why)
	b.seqs.forget(p.key)
	if err := b.stream.Purge(ctx, jetstream.WithPurgeSubject(b.root+p.key)); err != nil {
		return false, fmt.Errorf("remove %s from bucket %s: %w", p.key, b.name, err)
	}
	marker := p.value == nil
	p.value, p.seq = nil, 0
	return !marker, nil
}
