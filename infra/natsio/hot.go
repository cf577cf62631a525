package natsio

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Hot is the target of the hot view. A bucket's unsynced tail may be lost in a
// power cut, so its position is not kept beside it but in it: every put carries
// the positions from which a restart is safe, and the bucket's own last
// message says where to go on.
type Hot struct {
	bucket   *Bucket
	journal  *Journal
	progress *projections.Progress
}

var (
	_ projections.Target = (*Hot)(nil)
	_ readmodel.HotTier  = (*Hot)(nil)
)

// NewHot is the hot view's target; progress is where its runners note their
// positions.
func NewHot(b *Bucket, j *Journal, progress *projections.Progress) *Hot {
	return &Hot{bucket: b, journal: j, progress: progress}
}

// positionHeader carries "<incarnation> <p>=<position> …".
const positionHeader = "Tidemark-Position"

// Header is what every put into the bucket carries.
func (t *Hot) Header() nats.Header {
	b := append(make([]byte, 0, 64), t.journal.ID()...)
	for p, at := range t.progress.All() {
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(p), 10)
		b = append(b, '=')
		b = strconv.AppendUint(b, at, 10)
	}
	return nats.Header{positionHeader: []string{string(b)}}
}

// lookBack bounds the search for a message of ours at the bucket's end.
const lookBack = 200

// Load implements projections.Target. Without a position in the bucket it is
// as old as the bucket's TTL: what is older would have expired anyway.
func (t *Hot) Load(ctx context.Context, partition int, id string) (uint64, error) {
	info, err := t.bucket.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("look at bucket %s: %w", t.bucket.name, err)
	}
	oldest := uint64(0)
	if t.bucket.ttl > 0 {
		if oldest, err = t.journal.FirstSince(ctx, partition, time.Now().Add(-t.bucket.ttl)); err != nil {
			return 0, err
		}
	}
	seq := info.State.LastSeq
	for range lookBack {
		if seq < info.State.FirstSeq || seq == 0 {
			break
		}
		msg, err := t.bucket.stream.GetMsg(ctx, seq)
		seq--
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read the end of bucket %s: %w", t.bucket.name, err)
		}
		text := msg.Header.Get(positionHeader)
		if text == "" {
			continue
		}
		at, err := parsePosition(text, partition, id)
		return max(at, oldest), err
	}
	return oldest, nil
}

func parsePosition(text string, partition int, id string) (uint64, error) {
	parts := strings.Fields(text)
	if parts[0] != id {
		return 0, fmt.Errorf("%w: the bucket holds the view of journal %s, this is journal %s", projections.ErrForeignJournal, parts[0], id)
	}
	for _, part := range parts[1:] {
		if p, at, ok := strings.Cut(part, "="); ok && p == strconv.Itoa(partition) {
			return strconv.ParseUint(at, 10, 64)
		}
	}
	return 0, nil
}

// put is one change on its way into the bucket.
type put struct {
	change *projections.EntryChange
	key    string // "<agent>.<key>"
	seq    uint64 // the bucket's sequence that it expects
	future jetstream.PubAckFuture
}

// Get is the entry under a key, for the tiered read.
func (t *Hot) Get(ctx context.Context, agent, key string) (readmodel.Entry, bool, error) {
	return t.bucket.Get(ctx, agent, key)
}

// Fill puts an entry that a lower tier answered with, where there is nothing.
func (t *Hot) Fill(ctx context.Context, e *readmodel.Entry) error {
	_, err := t.bucket.Fill(ctx, e, t.Header())
	return err
}

// Apply implements projections.Target: guarded puts, all in flight at once.
// A deletion leaves its marker even where there was nothing, for a fill may be
// under way that must not bring back what is gone.
// A put that finds a newer row loses and is done; one that finds an older row
// than it remembered tries again with that row's sequence.
func (t *Hot) Apply(ctx context.Context, _ int, _, _ uint64, c projections.Changes) error {
	puts, err := t.prepare(ctx, c.Entries)
	if err != nil {
		return err
	}
	header := t.Header()
	for round := 0; len(puts) > 0; round++ {
		if round > 10 {
			return fmt.Errorf("bucket %s: %d keys are being written by somebody else", t.bucket.name, len(puts))
		}
		if err := t.send(puts, header); err != nil {
			return err
		}
		if puts, err = t.settle(ctx, puts); err != nil {
			return err
		}
	}
	return nil
}

// prepare finds the sequence each put must expect: remembered, or read for all
// unknown keys in few requests.
func (t *Hot) prepare(ctx context.Context, changes []projections.EntryChange) ([]put, error) {
	puts := make([]put, 0, len(changes))
	var unknown []string
	for i := range changes {
		p := put{change: &changes[i], key: changes[i].Agent + "." + changes[i].Key}
		seq, ok := t.bucket.seqs.GetIfPresent(p.key)
		if !ok {
			unknown = append(unknown, t.bucket.root+p.key)
		}
		p.seq = seq
		puts = append(puts, p)
	}
	found := make(map[string]*jetstream.RawStreamMsg, len(unknown))
	for len(unknown) > 0 {
		n := min(len(unknown), 1000) // the server takes 1,024 at most
		last, err := jetstreamext.GetLastMsgsFor(ctx, t.bucket.js, "KV_"+t.bucket.name, unknown[:n])
		if err != nil {
			return nil, fmt.Errorf("read %d keys of bucket %s: %w", n, t.bucket.name, err)
		}
		for msg, err := range last {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("read %d keys of bucket %s: %w", n, t.bucket.name, err)
			}
			found[strings.TrimPrefix(msg.Subject, t.bucket.root)] = msg
		}
		unknown = unknown[n:]
	}
	kept := puts[:0]
	for _, p := range puts {
		if msg, ok := found[p.key]; ok {
			p.seq = msg.Sequence
			if t.newer(msg, p.change) {
				t.bucket.seqs.Set(p.key, p.seq)
				continue
			}
		}
		kept = append(kept, p)
	}
	return kept, nil
}

// newer tells whether the bucket's row is at least as new as the change. A row
// that cannot be read, or that claims a revision the journal has not, is not.
func (t *Hot) newer(msg *jetstream.RawStreamMsg, c *projections.EntryChange) bool {
	if gone(msg.Header) {
		rev, err := strconv.ParseUint(msg.Header.Get(revisionHeader), 10, 64)
		return err == nil && rev >= c.Revision
	}
	e, err := readmodel.DecodeKV(msg.Data)
	return err == nil && e.Revision >= c.Revision
}

// revisionHeader carries the revision on a deletion, which has no value.
const revisionHeader = "Tidemark-Revision"

func (t *Hot) send(puts []put, header nats.Header) error {
	for i := range puts {
		p := &puts[i]
		msg := &nats.Msg{Subject: t.bucket.root + p.key, Header: make(nats.Header, 4)}
		msg.Header[positionHeader] = header[positionHeader]
		if p.change.Deleted {
			msg.Header[kvOperationHeader] = []string{"DEL"}
			msg.Header[revisionHeader] = []string{strconv.FormatUint(p.change.Revision, 10)}
		} else {
			msg.Data = p.change.EncodeKV()
		}
		msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(p.seq, 10)}
		var err error
		if p.future, err = t.bucket.js.PublishMsgAsync(msg); err != nil {
			return fmt.Errorf("put %s into bucket %s: %w", p.key, t.bucket.name, err)
		}
	}
	return nil
}

// settle takes the answers and returns the puts that must be sent again.
func (t *Hot) settle(ctx context.Context, puts []put) ([]put, error) {
	var again []put
	for i := range puts {
		p := &puts[i]
		var err error
		select {
		case ack := <-p.future.Ok():
			t.bucket.seqs.Set(p.key, ack.Sequence)
			continue
		case err = <-p.future.Err():
		case <-ctx.Done():
			return nil, fmt.Errorf("put %s into bucket %s: no answer: %w", p.key, t.bucket.name, ctx.Err())
		}
		switch {
		case hasCode(err, codeWrongLastSequence, codeLastSeqInFlight):
			retry, err := t.reread(ctx, p)
			if err != nil {
				return nil, err
			}
			if retry {
				again = append(again, *p)
			}
		case hasCode(err, codeStreamFull, codeMessageTooLarge):
			if err := t.forget(ctx, p, err); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("put %s into bucket %s: %w", p.key, t.bucket.name, err)
		}
	}
	sort.Slice(again, func(i, j int) bool { return again[i].key < again[j].key })
	return again, nil
}

// reread looks what is under the key now and tells whether the put still has
// something to do.
func (t *Hot) reread(ctx context.Context, p *put) (bool, error) {
	t.bucket.seqs.Invalidate(p.key)
	msg, err := t.bucket.stream.GetLastMsgForSubject(ctx, t.bucket.root+p.key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		p.seq = 0
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s of bucket %s: %w", p.key, t.bucket.name, err)
	}
	p.seq = msg.Sequence
	return !t.newer(msg, p.change), nil
}

// forget removes a key whose new value the bucket refuses: absent is answered
// by the next tier, an old value would be a stale answer.
func (t *Hot) forget(ctx context.Context, p *put, why error) error {
	t.bucket.log.Warn("the bucket refuses a value; its key is removed and read from the next tier",
		"bucket", t.bucket.name, "key", p.key, "error", why)
	t.bucket.seqs.Invalidate(p.key)
	if err := t.bucket.stream.Purge(ctx, jetstream.WithPurgeSubject(t.bucket.root+p.key)); err != nil {
		return fmt.Errorf("remove %s from bucket %s: %w", p.key, t.bucket.name, err)
	}
	return nil
}
