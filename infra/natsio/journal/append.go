package journal

import (
	"context"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
)

var _ history.Batcher = (*Journal)(nil)

// AppendAll implements commands.Batcher with one atomic batch (ADR-50). Checks
// look at the state before the batch, so only the first event of each stream
// carries one.
func (j *Journal) AppendAll(ctx context.Context, writes []history.Write) (uint64, error) {
	p := j.Partition(writes[0].Stream.ID())
	msgs := make([]*nats.Msg, len(writes))
	for i := range writes {
		w := &writes[i]
		msgs[i] = &nats.Msg{Subject: j.publish[p] + string(w.Stream), Data: w.Event.Encode(), Header: nats.Header{}}
		if w.First {
			msgs[i].Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(w.After, 10)}
		}
		if w.ID != "" {
			msgs[i].Header[jetstream.MsgIDHeader] = []string{w.ID}
		}
	}
	return j.atomically(ctx, msgs)
}

// Append implements commands.Journal: one event as a plain publish, several as
// one atomic batch.
func (j *Journal) Append(ctx context.Context, s events.Stream, after uint64, id string, evs []events.Event) (history.Appended, error) {
	p := j.Partition(s.ID())
	msgs := make([]*nats.Msg, len(evs))
	for i := range evs {
		msgs[i] = &nats.Msg{Subject: j.publish[p] + string(s), Data: evs[i].Encode(), Header: nats.Header{}}
	}
	msgs[0].Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(after, 10)}
	msgs[0].Header[jetstream.MsgIDHeader] = []string{id}
	if len(msgs) > 1 {
		last, err := j.atomically(ctx, msgs)
		return history.Appended{Revision: last}, err
	}
	ack := j.pipeline.Publish(ctx, msgs[0])[0]
	if ack.Err != nil {
		return history.Appended{}, translate(ack.Err)
	}
	return history.Appended{Revision: ack.Seq, Duplicate: ack.Duplicate}, nil
}
