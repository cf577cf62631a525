package service

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// batch handles commands.batch and calls finish after its reply.
func (s *Service) batch(ctx context.Context, m *nats.Msg, finish func(outcome string, err error)) {
	id, err := natsio.CommandID(m)
	if err != nil {
		finish(s.replyError(s.nc, m.Reply, err), err)
		return
	}
	below := func(subject string) string { return commands.Below(s.cfg.Subjects.Root(""), subject) }
	s.cfg.Batch(ctx, id, m.Data, below, func(results []commands.Result, err error) {
		outcome := "ok"
		if err != nil {
			outcome = s.replyError(s.nc, m.Reply, err)
		} else {
			answer := s.encodeResults(results)
			if int64(len(answer)) > s.nc.MaxPayload() {
				for i := range results {
					results[i].Receipt.Value = ""
				}
				answer = s.encodeResults(results)
			}
			s.reply(s.nc, m.Reply, answer)
		}
		finish(outcome, err)
	})
}

func (s *Service) encodeResults(results []commands.Result) []byte {
	b := append(make([]byte, 0, 32+300*len(results)), `{"results":[`...)
	for i := range results {
		if i > 0 {
			b = append(b, ',')
		}
		if err := results[i].Err; err != nil {
			b = append(b, natsio.EncodeError(err, s.cfg.Log).Body...)
			continue
		}
		b = append(b, `{"receipt":`...)
		b = append(b, results[i].Receipt.Encode()...)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}
