package journal

import (
	"context"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/tidemark-engine/tidemark/history"
)

// Headers of an atomic batch (ADR-50).
const (
	batchIDHeader     = "Nats-Batch-Id"
	batchSeqHeader    = "Nats-Batch-Sequence"
	batchCommitHeader = "Nats-Batch-Commit"
)

// appendTimeout bounds the wait for a leader that may be frozen or gone. The outcome
// is then unknown, and the caller appends again, which another leader may answer.
const appendTimeout = 1500 * time.Millisecond

// Append implements history.Appender: one event is a plain publish, several are
// one atomic batch (ADR-50). The server checks a batch against the state before
// it, so only the first event of each aggregate carries an expected sequence. The subject
// of a comparison with another aggregate is that under which its events are stored.
func (j *Journal) Append(ctx context.Context, writes []history.Write) (history.Appended, error) {
	if j.Replicas() > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, appendTimeout)
		defer cancel()
	}
	p := j.Partition(writes[0].Name.ID())
	msgs := make([]*nats.Msg, len(writes))
	for i := range writes {
		w := &writes[i]
		msgs[i] = &nats.Msg{Subject: j.publish[p] + string(w.Name), Data: w.Event.Encode(), Header: nats.Header{}}
		if int64(len(msgs[i].Data))+history.MessageRoom > j.nc.MaxPayload() {
			return history.Appended{}, appendError(nats.ErrMaxPayload)
		}
		if w.First {
			msgs[i].Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(w.After, 10)}
			if w.Compares != "" {
				msgs[i].Header[jetstream.ExpectedLastSubjSeqSubjHeader] = []string{j.root + string(w.Compares)}
			}
		}
		if w.ID != "" {
			msgs[i].Header[jetstream.MsgIDHeader] = []string{w.ID}
		}
	}
	if len(msgs) > 1 {
		last, err := j.publishAtomic(ctx, msgs)
		return history.Appended{Revision: last}, err
	}
	// gofail: var journalPublish struct{}
	// return history.Appended{}, history.ErrOutcomeUnknown
	ack := j.publisher.Publish(ctx, msgs[0])[0]
	// gofail: var journalAcked struct{}
	// return history.Appended{}, history.ErrOutcomeUnknown
	if ack.Err != nil {
		return history.Appended{}, appendError(ack.Err)
	}
	return history.Appended{Revision: ack.Seq, Duplicate: ack.Duplicate}, nil
}

// publishAtomic stores all messages or none and returns the sequence of the last.
// The server acknowledges only the commit and reports there an error of any
// message of the batch.
func (j *Journal) publishAtomic(ctx context.Context, msgs []*nats.Msg) (uint64, error) {
	id := []string{nuid.Next()}
	for i, m := range msgs {
		m.Header[batchIDHeader] = id
		m.Header[batchSeqHeader] = []string{strconv.Itoa(i + 1)}
		if i < len(msgs)-1 {
			if err := j.nc.PublishMsg(m); err != nil {
				return 0, appendError(err)
			}
		}
	}
	// gofail: var journalCommit struct{}
	// return 0, history.ErrOutcomeUnknown
	last := msgs[len(msgs)-1]
	last.Header[batchCommitHeader] = []string{"1"}
	ack := j.publisher.Publish(ctx, last)[0]
	// gofail: var journalCommitted struct{}
	// return 0, history.ErrOutcomeUnknown
	return ack.Seq, appendError(ack.Err)
}
