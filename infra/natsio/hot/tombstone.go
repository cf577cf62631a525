package hot

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// heldHeader marks the place of a row that the hot view leaves out. Absent is
// answered by the next tier; the old row would be a stale answer, to clients of
// the bucket too. No fill goes over it: the view would not keep it level.
const heldHeader = "Tidemark-Held"

// hide takes the rows of what is held out of their buckets, whatever they are.
// The markers carry no revision, so that a repair puts the row over them.
func (t *Hot) hide(ctx context.Context, held []history.Message, header nats.Header) error {
	type place struct {
		bucket *Bucket
		key    string
	}
	markers := map[*Bucket][]*nats.Msg{}
	seen := map[place]bool{}
	for i := range held {
		b, key := t.place(held[i].Stream)
		if b == nil || key == "" || seen[place{b, key}] {
			continue
		}
		seen[place{b, key}] = true
		b.seqs.forget(key)
		markers[b] = append(markers[b], &nats.Msg{Subject: b.root + key, Header: nats.Header{
			kvOperationHeader: []string{"DEL"}, heldHeader: []string{"1"}, positionHeader: header[positionHeader],
		}})
	}
	for b, msgs := range markers {
		for i, ack := range b.pipeline.Publish(ctx, msgs...) {
			err := ack.Err
			if natsio.HasCode(err, natsio.CodeStreamFull) { // no room even for the marker
				err = b.stream.Purge(ctx, jetstream.WithPurgeSubject(msgs[i].Subject))
			}
			if err != nil {
				return fmt.Errorf("hide %s: %w", msgs[i].Subject, err)
			}
		}
	}
	return nil
}
