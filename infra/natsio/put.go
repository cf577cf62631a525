package natsio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// put is one change on its way into a bucket. It is guarded twice: by the
// bucket's sequence of the key, so that no other writer comes between, and by
// the revision in the value, so that a newer row stays.
type put struct {
	key      string
	value    []byte // nil = deletion
	revision uint64 // in the journal
	seq      uint64 // the bucket's sequence that it expects
	future   jetstream.PubAckFuture
}

// revisionHeader carries the revision on a deletion, which has no value.
const revisionHeader = "Tidemark-Revision"

// putRounds bounds how often a batch fights others for its keys.
const putRounds = 10

// putAll writes the changes, each unless the bucket has it or newer.
func (b *Bucket) putAll(ctx context.Context, puts []put, header nats.Header) error {
	puts, err := b.prepare(ctx, puts)
	for round := 0; err == nil && len(puts) > 0; round++ {
		if round > putRounds {
			return fmt.Errorf("bucket %s: %d keys are being written by somebody else", b.name, len(puts))
		}
		if err = b.send(puts, header); err == nil {
			puts, err = b.settle(ctx, puts)
		}
	}
	return err
}

// prepare finds the sequence each put must expect: remembered, or read for all
// unknown keys in few requests. Puts that are not needed are dropped.
func (b *Bucket) prepare(ctx context.Context, puts []put) ([]put, error) {
	var unknown []string
	for i := range puts {
		if seq, ok := b.seqs.GetIfPresent(puts[i].key); ok {
			puts[i].seq = seq
		} else {
			unknown = append(unknown, b.root+puts[i].key)
		}
	}
	if len(unknown) == 0 {
		return puts, nil
	}
	found, err := b.lastOf(ctx, unknown)
	if err != nil {
		return nil, err
	}
	kept := puts[:0]
	for _, p := range puts {
		if msg, ok := found[p.key]; ok {
			if p.seq = msg.Sequence; newer(msg, p.revision) {
				b.seqs.Set(p.key, p.seq)
				continue
			}
		}
		kept = append(kept, p)
	}
	return kept, nil
}

// lastOf reads the last message of many subjects, a thousand a request; the
// server takes 1,024.
func (b *Bucket) lastOf(ctx context.Context, subjects []string) (map[string]*jetstream.RawStreamMsg, error) {
	found := make(map[string]*jetstream.RawStreamMsg, len(subjects))
	for len(subjects) > 0 {
		n := min(len(subjects), 1000)
		last, err := jetstreamext.GetLastMsgsFor(ctx, b.js, "KV_"+b.name, subjects[:n])
		if err != nil {
			return nil, fmt.Errorf("read %d keys of bucket %s: %w", n, b.name, err)
		}
		for msg, err := range last {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("read %d keys of bucket %s: %w", n, b.name, err)
			}
			found[strings.TrimPrefix(msg.Subject, b.root)] = msg
		}
		subjects = subjects[n:]
	}
	return found, nil
}

// newer tells whether what is in the bucket is at least as new as a revision.
// What cannot be read is not.
func newer(msg *jetstream.RawStreamMsg, revision uint64) bool {
	if gone(msg.Header) {
		rev, err := strconv.ParseUint(msg.Header.Get(revisionHeader), 10, 64)
		return err == nil && rev >= revision
	}
	var row struct {
		Revision uint64 `json:"revision"`
	}
	return json.Unmarshal(msg.Data, &row) == nil && row.Revision >= revision
}

func (b *Bucket) send(puts []put, header nats.Header) error {
	for i := range puts {
		p := &puts[i]
		msg := &nats.Msg{Subject: b.root + p.key, Data: p.value, Header: make(nats.Header, 4)}
		msg.Header[positionHeader] = header[positionHeader]
		if p.value == nil {
			msg.Header[kvOperationHeader] = []string{"DEL"}
			msg.Header[revisionHeader] = []string{strconv.FormatUint(p.revision, 10)}
		}
		msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(p.seq, 10)}
		var err error
		if p.future, err = b.js.PublishMsgAsync(msg); err != nil && !errors.Is(err, nats.ErrMaxPayload) {
			return fmt.Errorf("put %s into bucket %s: %w", p.key, b.name, err)
		}
	}
	return nil
}

// settle takes the answers and returns the puts that must be sent again.
func (b *Bucket) settle(ctx context.Context, puts []put) ([]put, error) {
	var again []put
	for i := range puts {
		p := &puts[i]
		err := p.answer(ctx)
		switch {
		case err == nil:
		case hasCode(err, codeWrongLastSequence, codeLastSeqInFlight):
			retry, err := b.reread(ctx, p)
			if err != nil {
				return nil, err
			}
			if retry {
				again = append(again, *p)
			}
			continue
		case hasCode(err, codeStreamFull, codeMessageTooLarge), errors.Is(err, nats.ErrMaxPayload):
			if err := b.forget(ctx, p, err); err != nil {
				return nil, err
			}
			continue
		default:
			return nil, fmt.Errorf("put %s into bucket %s: %w", p.key, b.name, err)
		}
		b.seqs.Set(p.key, p.seq)
	}
	return again, nil
}

// answer waits for a put's ack and notes its sequence.
func (p *put) answer(ctx context.Context) error {
	if p.future == nil {
		return nats.ErrMaxPayload
	}
	select {
	case ack := <-p.future.Ok():
		p.seq = ack.Sequence
		return nil
	case err := <-p.future.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reread looks what is under the key now and tells whether the put still has
// something to do.
func (b *Bucket) reread(ctx context.Context, p *put) (bool, error) {
	b.seqs.Invalidate(p.key)
	msg, err := b.stream.GetLastMsgForSubject(ctx, b.root+p.key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		p.seq = 0
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s of bucket %s: %w", p.key, b.name, err)
	}
	p.seq = msg.Sequence
	return !newer(msg, p.revision), nil
}

// forget removes a key whose new value the bucket refuses: absent is answered
// by the next tier, an old value would be a stale answer.
func (b *Bucket) forget(ctx context.Context, p *put, why error) error {
	b.log.Warn("the bucket refuses a value; its key is removed and read from the next tier",
		"bucket", b.name, "key", p.key, "error", why)
	b.seqs.Invalidate(p.key)
	if err := b.stream.Purge(ctx, jetstream.WithPurgeSubject(b.root+p.key)); err != nil {
		return fmt.Errorf("remove %s from bucket %s: %w", p.key, b.name, err)
	}
	return nil
}
