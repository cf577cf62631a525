package journal

import (
	"context"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// Headers of an atomic batch (ADR-50).
const (
	batchIDHeader     = "Nats-Batch-Id"
	batchSeqHeader    = "Nats-Batch-Sequence"
	batchCommitHeader = "Nats-Batch-Commit"
)

// atomically stores messages, all or none, and returns the sequence of the
// last. They go out in one piece and one answer comes back: what the server
// finds wrong with any of them, it says of the commit.
func (j *Journal) atomically(ctx context.Context, msgs []*nats.Msg) (uint64, error) {
	id := []string{nuid.Next()}
	for i, m := range msgs {
		m.Header[batchIDHeader] = id
		m.Header[batchSeqHeader] = []string{strconv.Itoa(i + 1)}
		if i < len(msgs)-1 {
			if err := j.nc.PublishMsg(m); err != nil {
				return 0, translate(err)
			}
		}
	}
	last := msgs[len(msgs)-1]
	last.Header[batchCommitHeader] = []string{"1"}
	ack := j.pipeline.Publish(ctx, last)[0]
	return ack.Seq, translate(ack.Err)
}
