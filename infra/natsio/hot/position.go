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

// This file keeps the hot view's position in its buckets.

// positionHeader carries "<incarnation> v=<version> <p>=<position> …".
const positionHeader = "Tidemark-Position"

// Header is what every put into a bucket carries.
func (t *Hot) Header() nats.Header {
	version, _ := t.ViewVersion()
	return nats.Header{positionHeader: []string{positionText(t.journal.ID(), version, t.progress.All())}}
}

func positionText(id string, version int, positions []uint64) string {
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

func parsePosition(text string, partition int, id string) (at uint64, version int, err error) {
	parts := strings.Fields(text)
	if len(parts) == 0 || parts[0] != id {
		return 0, 0, fmt.Errorf("%w: the hot view is of journal %.26q, this is journal %s", history.ErrForeignJournal, text, id)
	}
	version = 1 // before there were versions
	for _, part := range parts[1:] {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "v":
			version, err = strconv.Atoi(value)
		case strconv.Itoa(partition):
			at, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("the hot view's position %.100q: %w", text, err)
		}
	}
	return at, version, nil
}

// lookBack bounds the search for a message of ours at a bucket's end.
const lookBack = 200

// position is what a bucket's last message of ours carries. Without one it is
// as old as the bucket's TTL: what is older would have expired anyway.
func (t *Hot) position(ctx context.Context, b *Bucket, partition int, id string) (uint64, error) {
	info, err := b.stream.Info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		// Somebody has removed the bucket: it is made anew and folded again.
		b.log.Warn("the bucket is gone and is made anew", "bucket", b.name)
		b.seqs.forgetAll()
		if _, err = b.create(ctx, b.cfg); err == nil {
			info, err = b.stream.Info(ctx)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("look at bucket %s: %w", b.name, err)
	}
	oldest := uint64(0)
	if b.ttl > 0 {
		if oldest, err = t.journal.FirstSince(ctx, partition, time.Now().Add(-b.ttl)); err != nil {
			return 0, err
		}
	}
	seq := info.State.LastSeq
	for range lookBack {
		if seq < info.State.FirstSeq || seq == 0 {
			break
		}
		msg, err := b.stream.GetMsg(ctx, seq)
		seq--
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read the end of bucket %s: %w", b.name, err)
		}
		text := msg.Header.Get(positionHeader)
		if text == "" {
			continue
		}
		at, version, err := parsePosition(text, partition, id)
		if err == nil && (t.version.Load() == nil || version < *t.version.Load()) {
			t.version.Store(&version)
		}
		return max(at, oldest), err
	}
	return oldest, nil
}

// positionKey is where an idle bucket's position goes: a marker without a
// value, under the reserved agent id.
const positionKey = "kv.position"

func (t *Hot) mark(ctx context.Context, partition int, from uint64, written map[*Bucket][]put, header nats.Header) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.buckets() {
		name := b.name + " " + strconv.Itoa(partition)
		if len(written[b]) > 0 {
			t.marked[name] = from
			continue
		}
		if from < t.marked[name]+natsio.MarkEvery {
			continue
		}
		if err := b.note(ctx, header); err != nil {
			return err
		}
		t.marked[name] = from
	}
	return nil
}

// note puts a position that no row carries.
func (b *Bucket) note(ctx context.Context, header nats.Header) error {
	msg := &nats.Msg{Subject: b.root + positionKey, Header: nats.Header{
		positionHeader: header[positionHeader], kvOperationHeader: []string{"DEL"},
	}}
	if _, err := b.js.PublishMsg(ctx, msg); err != nil && !natsio.HasCode(err, natsio.CodeStreamFull) {
		return fmt.Errorf("note the position in bucket %s: %w", b.name, err)
	}
	return nil
}

// ViewVersion is that of the fold that made the rows; known is false before a
// Load: this engine may not be the one that runs the view.
func (t *Hot) ViewVersion() (version int, known bool) {
	if v := t.version.Load(); v != nil {
		return *v, t.loaded.Load()
	}
	return projections.Version("hot"), t.loaded.Load()
}

// Rebuilt notes, in every bucket, that its rows up to the view's positions are
// of this build's fold and of this journal.
func (t *Hot) Rebuilt(ctx context.Context) error {
	version := projections.Version("hot")
	t.version.Store(&version)
	for _, b := range t.buckets() {
		if err := b.note(ctx, t.Header()); err != nil {
			return err
		}
	}
	return nil
}
