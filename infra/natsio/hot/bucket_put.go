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
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// put is one pending change of a key. Two conditions guard it: the expected
// bucket sequence of the key excludes concurrent writers, and the revision of
// the stored value prevents that a newer row is overwritten.
type put struct {
	key      string
	value    []byte               // nil = deletion
	revision uint64               // in the journal; 0 = the journal has no event of this key
	first    bool                 // first event of its aggregate: the bucket should have no row yet
	stream   events.AggregateName // set by Restore only
	seq      uint64               // expected last sequence of the key in the bucket
	refused  bool                 // a marker in place of the value, for which the bucket had no room
	ack      natsio.Ack
}

// maxPutRetries bounds the retries of a batch whose keys other writers change.
const maxPutRetries = 10

// journalCheck reports whether the journal has a revision.
type journalCheck func(revision uint64) (bool, error)

// putAll writes each change unless the bucket has the same or a newer revision.
func (b *Bucket) putAll(ctx context.Context, puts []put, header nats.Header, inJournal journalCheck) error {
	puts, err := b.prepare(ctx, puts, inJournal)
	b.full.putAgain(puts)
	for round := 0; err == nil && len(puts) > 0; round++ {
		if round > maxPutRetries {
			return fmt.Errorf("bucket %s: other writers keep changing %d keys; gave up after %d retries", b.name, len(puts), maxPutRetries)
		}
		b.send(ctx, puts, header)
		// gofail: var hotAcked struct{}
		// return context.DeadlineExceeded
		puts, err = b.handleAcks(ctx, puts, inJournal)
	}
	return err
}

// prepare sets the sequence that each put expects: the cached one, 0 for a new
// aggregate, or the stored one, read for all unknown keys in few requests. It
// drops puts whose revision or a newer one is already stored.
func (b *Bucket) prepare(ctx context.Context, puts []put, inJournal journalCheck) ([]put, error) {
	kept, unknown := puts[:0], []put(nil)
	for _, p := range puts {
		// With the sequence of a newer row, the server would accept an older one.
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
	unknown, err := b.refresh(ctx, unknown, inJournal, history.Fast) // a stale answer fails the put
	return append(kept, unknown...), err
}

// refresh reads the current messages of the keys, sets the expected sequences
// and drops the puts whose revision or a newer one is already stored.
func (b *Bucket) refresh(ctx context.Context, puts []put, inJournal journalCheck, f history.Freshness) ([]put, error) {
	subjects := make([]string, len(puts))
	for i := range puts {
		subjects[i] = b.prefix + puts[i].key
	}
	found, err := b.lastMessages(ctx, subjects, f)
	if err != nil {
		return nil, err
	}
	kept := puts[:0]
	for _, p := range puts {
		p.seq = 0
		if msg, ok := found[p.key]; ok {
			current, err := upToDate(msg, &p, inJournal)
			if err != nil {
				return nil, err
			}
			if current {
				continue
			}
			p.seq = msg.Sequence
		}
		kept = append(kept, p)
	}
	return kept, nil
}

// lastMessages returns the last message of each subject, by key.
func (b *Bucket) lastMessages(ctx context.Context, subjects []string, f history.Freshness) (map[string]*jetstream.RawStreamMsg, error) {
	found := make(map[string]*jetstream.RawStreamMsg, len(subjects))
	add := func(msg *jetstream.RawStreamMsg) { found[strings.TrimPrefix(msg.Subject, b.prefix)] = msg }
	var err error
	if f == history.Linearizable && natsio.Replicated(b.stream) {
		err = natsio.LeaderLastMessages(ctx, b.nc, "KV_"+b.name, subjects, add)
	} else {
		err = natsio.LastMessages(ctx, b.nc, "KV_"+b.name, natsio.LastQuery{Subjects: subjects}, add)
	}
	if err != nil {
		return nil, fmt.Errorf("read %d keys of bucket %s: %w", len(subjects), b.name, err)
	}
	return found, nil
}

// upToDate reports whether a stored message has at least the revision of a put. An invalid
// value has not; neither has one with a revision that is not in the journal,
// because the view did not write it, nor the marker of a value for which there was no room.
func upToDate(msg *jetstream.RawStreamMsg, p *put, inJournal journalCheck) (bool, error) {
	switch stored := revisionOf(msg); {
	case stored < p.revision:
		return false, nil
	case stored == p.revision:
		return p.value == nil || msg.Header.Get(refusedHeader) == "", nil
	default:
		return inJournal(stored)
	}
}

// refusedHeader marks the marker of a value for which the bucket had no room.
const refusedHeader = "Tidemark-Refused"

// revisionOf returns the revision of a row or a marker; 0 = none or invalid.
func revisionOf(msg *jetstream.RawStreamMsg) uint64 {
	if isMarker(msg.Header) {
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

// send publishes all puts at once and stores their acknowledgements in them.
func (b *Bucket) send(ctx context.Context, puts []put, header nats.Header) {
	msgs, all, seqs := make([]*nats.Msg, len(puts)), make([]nats.Msg, len(puts)), make([]string, len(puts))
	for i := range puts {
		p, msg := &puts[i], &all[i]
		seqs[i] = strconv.FormatUint(p.seq, 10)
		msg.Subject, msg.Data, msg.Header = b.prefix+p.key, p.value, make(nats.Header, 4)
		msg.Header[positionHeader] = header[positionHeader]
		if p.value == nil {
			msg.Header[kvOperationHeader] = []string{"DEL"}
			msg.Header[natsio.RevisionHeader] = []string{strconv.FormatUint(p.revision, 10)}
			if p.refused {
				msg.Header[refusedHeader] = []string{"1"}
			}
		}
		msg.Header[jetstream.ExpectedLastSubjSeqHeader] = seqs[i : i+1 : i+1]
		msgs[i] = msg
	}
	for i, ack := range b.publisher.Publish(ctx, msgs...) {
		puts[i].ack = ack
	}
}

// handleAcks evaluates the acknowledgements and returns the puts to send again.
func (b *Bucket) handleAcks(ctx context.Context, puts []put, inJournal journalCheck) ([]put, error) {
	var again, conflicts []put
	for i := range puts {
		p := &puts[i]
		err := p.ack.Err
		switch {
		case err == nil:
			b.seqs.set(p.key, cachedRow{p.ack.Seq, p.revision})
		case natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight):
			b.seqs.remove(p.key)
			conflicts = append(conflicts, *p)
		case natsio.HasCode(err, natsio.CodeStreamFull, natsio.CodeMessageTooLarge), errors.Is(err, nats.ErrMaxPayload):
			retry, err := b.dropKey(ctx, p, err)
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
	conflicts, err := b.refresh(ctx, conflicts, inJournal, history.Linearizable)
	return append(again, conflicts...), err
}

// dropKey purges a key whose new value the bucket rejects: the next tier answers
// for a missing key, but the old value would be a stale answer. It turns the put
// into a marker, so that a concurrent fill cannot restore an old value, and
// reports whether to send it; a rejected marker is not sent again.
func (b *Bucket) dropKey(ctx context.Context, p *put, cause error) (bool, error) {
	b.rejects.Warn("the bucket rejects a value; the key is removed and the next tier answers for it",
		"bucket", b.name, "key", p.key, "error", cause)
	if natsio.HasCode(cause, natsio.CodeStreamFull) {
		b.full.rejected(p.key, len(p.value))
		p.refused = true
	}
	b.seqs.remove(p.key)
	if err := b.stream.Purge(ctx, jetstream.WithPurgeSubject(b.prefix+p.key)); err != nil {
		return false, fmt.Errorf("remove %s from bucket %s: %w", p.key, b.name, err)
	}
	marker := p.value == nil
	p.value, p.seq = nil, 0
	return !marker, nil
}
