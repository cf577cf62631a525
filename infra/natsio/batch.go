package natsio

import (
	"context"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
)

var _ commands.Batcher = (*Journal)(nil)

// AppendAll implements commands.Batcher with one atomic batch (ADR-50). Checks
// look at the state before the batch, so only the first event of each stream
// carries one.
func (j *Journal) AppendAll(ctx context.Context, writes []commands.Write) (uint64, error) {
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

// batch answers commands.batch. The request is counted as open by its caller.
func (s *Service) batch(reply string, body []byte, start time.Time) {
	split := func(subject string) (aggregate, id, verb string, ok bool) {
		t := s.tokens(subject, "commands.") // the root may stand before it
		if len(t) != 3 {
			return "", "", "", false
		}
		return t[0], t[1], t[2], true
	}
	s.cfg.Batch(s.ctx, body, split, func(results []commands.Result, err error) {
		defer s.open.Done()
		outcome := "ok"
		if err != nil {
			outcome = s.refuse(reply, err)
		} else {
			s.reply(reply, s.encodeResults(results))
		}
		s.cfg.Observe("commands.batch", outcome, time.Since(start))
	})
}

func (s *Service) encodeResults(results []commands.Result) []byte {
	b := append(make([]byte, 0, 32+300*len(results)), `{"results":[`...)
	for i := range results {
		if i > 0 {
			b = append(b, ',')
		}
		if err := results[i].Err; err != nil {
			b = append(b, EncodeError(err, s.cfg.Log).Body...)
			continue
		}
		b = append(b, `{"receipt":`...)
		b = append(b, results[i].Receipt.Encode()...)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}
