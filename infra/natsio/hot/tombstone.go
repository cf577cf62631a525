package hot

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// quarantineHeader marks the tombstone of a quarantined aggregate. The next tier
// answers for a missing key; the old row would be a stale answer, for clients of
// the bucket too. Fill does not replace this tombstone, because the view would
// not update the row.
const quarantineHeader = "Tidemark-Held"

// putTombstones replaces the rows of quarantined events unconditionally. The
// tombstones carry no revision, so that a retry can put the row over them.
func (t *Hot) putTombstones(ctx context.Context, quarantined []history.Message, header nats.Header) error {
	type location struct {
		bucket *Bucket
		key    string
	}
	markers := map[*Bucket][]*nats.Msg{}
	seen := map[location]bool{}
	for i := range quarantined {
		b, key := t.locate(quarantined[i].Name)
		if b == nil || key == "" || seen[location{b, key}] {
			continue
		}
		seen[location{b, key}] = true
		b.seqs.remove(key)
		markers[b] = append(markers[b], &nats.Msg{Subject: b.prefix + key, Header: nats.Header{
			kvOperationHeader: []string{"DEL"}, quarantineHeader: []string{"1"}, positionHeader: header[positionHeader],
		}})
	}
	for b, msgs := range markers {
		for i, ack := range b.publisher.Publish(ctx, msgs...) {
			err := ack.Err
			if natsio.HasCode(err, natsio.CodeStreamFull) { // no space even for the tombstone
				err = b.stream.Purge(ctx, jetstream.WithPurgeSubject(msgs[i].Subject))
			}
			if err != nil {
				return fmt.Errorf("put a tombstone on %s: %w", msgs[i].Subject, err)
			}
		}
	}
	return nil
}
