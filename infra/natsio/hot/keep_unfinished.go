package hot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// unfinished are the states in which a document goes on, by kind: its row stays in the
// bucket, however long ago its last event was.
var unfinished = map[string][]string{
	readmodel.KindTask:    {"created", "started"},
	readmodel.KindSession: {"open"},
}

// UnfinishedInterval is the time between two calls of KeepUnfinished, a sixth of the
// shortest TTL: a row is put again when half of its TTL has passed.
func (t *Hot) UnfinishedInterval() time.Duration {
	interval := maxKeepInterval
	for kind := range unfinished {
		if b := t.docs[kind]; b != nil && b.TTL() > 0 {
			interval = min(interval, b.TTL()/6)
		}
	}
	return max(interval, 200*time.Millisecond)
}

// KeepUnfinished puts the rows of open sessions and unfinished tasks again before they
// lapse. A row that the view has written meanwhile stays.
func (t *Hot) KeepUnfinished(ctx context.Context) error {
	for kind, states := range unfinished {
		b := t.docs[kind]
		if b == nil || b.TTL() == 0 || t.foreign.Load() { // the puts' position would claim the bucket for this journal
			continue
		}
		if err := b.putAgain(ctx, b.TTL()/3, states, t.Header()); err != nil {
			return fmt.Errorf("keep unfinished rows in bucket %s: %w", b.name, err)
		}
	}
	return nil
}

const keepPage = 500

// putAgain puts the rows again that are older than an age and in one of states.
func (b *Bucket) putAgain(ctx context.Context, age time.Duration, states []string, header nats.Header) error {
	for page := (natsio.PageQuery{FromSeq: 1, Batch: keepPage}); ; {
		msgs, more, err := page.Page(ctx, b.nc, "KV_"+b.name)
		if err != nil {
			return err
		}
		var puts []put
		for _, msg := range msgs {
			page.FromSeq = msg.Sequence + 1
			old := b.age(msg.Time) > age
			if more = more && old; !old || isMarker(msg.Header) {
				continue
			}
			var row struct {
				Status string `json:"status"`
			}
			if json.Unmarshal(msg.Data, &row) == nil && slices.Contains(states, row.Status) {
				puts = append(puts, put{key: strings.TrimPrefix(msg.Subject, b.prefix), value: msg.Data, revision: revisionOf(msg), seq: msg.Sequence})
			}
		}
		b.send(ctx, puts, header)
		for i := range puts {
			switch err := puts[i].ack.Err; {
			case err == nil:
				b.seqs.remove(puts[i].key)
			case natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight): // an older value, or a newer one came
			case natsio.HasCode(err, natsio.CodeStreamFull, natsio.CodeMessageTooLarge), errors.Is(err, nats.ErrMaxPayload):
			default:
				return err
			}
		}
		if !more {
			return nil
		}
	}
}
