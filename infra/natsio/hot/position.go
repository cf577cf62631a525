package hot

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/projections"
)

// positionHeader carries the hot view's positions in its buckets, as
// "<incarnation> v=<version> <p>=<position> …".
const positionHeader = "Tidemark-Position"

// Header returns the header of every put: the journal, the version of the fold
// and the view's positions.
func (t *Hot) Header() nats.Header {
	version, _ := t.ViewVersion()
	return nats.Header{positionHeader: []string{encodePosition(t.journal.ID(), version, t.progress.All())}}
}

func encodePosition(id string, version int, positions []uint64) string {
	b := append(make([]byte, 0, 64), id...)
	b = append(b, " v="...)
	b = strconv.AppendInt(b, int64(version), 10)
	for p, at := range positions {
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(p), 10)
		b = append(b, '=')
		b = strconv.AppendUint(b, at, 10)
	}
	return string(b)
}

func decodePosition(text string, partition int, id string) (at uint64, version int, err error) {
	parts := strings.Fields(text)
	if len(parts) == 0 || parts[0] != id {
		return 0, 0, fmt.Errorf("%w: the hot view is folded from journal %.26q, this is journal %s", history.ErrForeignJournal, text, id)
	}
	version = 1 // a header without a version
	for _, part := range parts[1:] {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "v":
			version, err = strconv.Atoi(value)
		case strconv.Itoa(partition):
			at, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("decode the hot view's position %.100q: %w", text, err)
		}
	}
	return at, version, nil
}

// positionSearch is the number of messages at a bucket's end that are searched
// for a position.
const positionSearch = 200

// position returns the position that the last put of the view into a bucket
// carries. Without such a put, it is the journal's position at the age of the
// bucket's TTL, because older rows would have expired.
func (t *Hot) position(ctx context.Context, b *Bucket, partition int, id string) (uint64, error) {
	info, err := b.stream.Info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		b.log.Warn("the bucket is missing; it is created again and the view is folded again", "bucket", b.name)
		b.seqs.clear()
		if _, err = b.create(ctx, b.cfg); err == nil {
			info, err = b.stream.Info(ctx)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("read the state of bucket %s: %w", b.name, err)
	}
	oldest := uint64(0)
	if b.TTL() > 0 {
		if oldest, err = t.journal.FirstSince(ctx, partition, time.Now().Add(-b.TTL())); err != nil {
			return 0, err
		}
	}
	if t.mustRefold(b, partition, info) {
		return oldest, nil
	}
	text, err := b.lastPosition(ctx, info)
	if err != nil || text == "" {
		return oldest, err
	}
	at, version, err := decodePosition(text, partition, id)
	if err == nil && (t.version.Load() == nil || version < *t.version.Load()) {
		t.version.Store(&version)
	}
	return max(at, oldest), err
}

// lastPosition returns the position that the last put of the view carries; "" =
// there is no such put.
func (b *Bucket) lastPosition(ctx context.Context, info *jetstream.StreamInfo) (string, error) {
	seq := info.State.LastSeq
	for range positionSearch {
		if seq < info.State.FirstSeq || seq == 0 {
			break
		}
		msg, err := natsio.MessageAt(ctx, b.nc, b.stream, seq)
		seq--
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read the last messages of bucket %s: %w", b.name, err)
		}
		if text := msg.Header.Get(positionHeader); text != "" {
			return text, nil
		}
	}
	return "", nil
}

// Newest yields the revisions of the newest rows and markers of a bucket, each with
// the id that its key begins with. It reads as far back as a position is searched.
func (b *Bucket) Newest(ctx context.Context, yield func(id string, revision uint64)) error {
	info, err := b.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("read the state of bucket %s: %w", b.name, err)
	}
	for seq, n := info.State.LastSeq, 0; n < positionSearch && seq > 0 && seq >= info.State.FirstSeq; seq, n = seq-1, n+1 {
		msg, err := natsio.MessageAt(ctx, b.nc, b.stream, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the last messages of bucket %s: %w", b.name, err)
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(msg.Subject, b.prefix), ".")
		yield(id, revisionOf(msg))
	}
	return nil
}

// BucketJournal returns the incarnation of the journal whose rows the bucket of
// state entries has, "" = unknown. Clients can write to the bucket.
func BucketJournal(ctx context.Context, nc *nats.Conn) (string, error) {
	b, err := OpenExistingBucket(ctx, nc, AgentStateBucket.Name)
	if err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return "", nil
		}
		return "", err
	}
	text, err := b.lastPosition(ctx, b.stream.CachedInfo())
	journal, _, _ := strings.Cut(text, " ")
	return journal, err
}

// positionKey is the key of the marker that stores the position of an idle
// bucket. Its first token is the reserved agent id.
const positionKey = "kv.position"

// savePositions puts the position into the buckets without a put in this batch
// whose stored position is at least natsio.PositionInterval revisions old.
func (t *Hot) savePositions(ctx context.Context, partition int, from uint64, written map[*Bucket][]put, header nats.Header) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.buckets() {
		name := b.name + " " + strconv.Itoa(partition)
		if len(written[b]) > 0 {
			t.savedAt[name] = from
			continue
		}
		if from < t.savedAt[name]+natsio.PositionInterval {
			continue
		}
		if err := b.putPosition(ctx, header); err != nil {
			return err
		}
		t.savedAt[name] = from
	}
	return nil
}

// putPosition stores the positions in header without a row.
func (b *Bucket) putPosition(ctx context.Context, header nats.Header) error {
	msg := &nats.Msg{Subject: b.prefix + positionKey, Header: nats.Header{
		positionHeader: header[positionHeader], kvOperationHeader: []string{"DEL"},
	}}
	if _, err := b.js.PublishMsg(ctx, msg); err != nil && !natsio.HasCode(err, natsio.CodeStreamFull) {
		return fmt.Errorf("store the position in bucket %s: %w", b.name, err)
	}
	return nil
}

// ViewVersion returns the version of the fold that wrote the rows; known is
// false before the first Load, because another engine may run the view.
func (t *Hot) ViewVersion() (version int, known bool) {
	if v := t.version.Load(); v != nil {
		return *v, t.loaded.Load()
	}
	return projections.Version("hot"), t.loaded.Load()
}

// MarkRebuilt stores in every bucket that its rows up to the view's positions
// come from this build's fold and from this journal.
func (t *Hot) MarkRebuilt(ctx context.Context) error {
	version := projections.Version("hot")
	t.version.Store(&version)
	for _, b := range t.buckets() {
		if err := b.putPosition(ctx, t.Header()); err != nil {
			return err
		}
	}
	return nil
}
