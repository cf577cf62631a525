package service

import (
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// batch handles commands.batch. The caller has added the request to s.open.
func (s *Service) batch(reply string, body []byte, start time.Time) {
	split := func(subject string) (aggregate, id, verb string, ok bool) {
		t := s.tokens(subject, "commands.") // with or without the root
		if len(t) != 3 {
			return "", "", "", false
		}
		return t[0], t[1], t[2], true
	}
	s.cfg.Batch(s.ctx, body, split, func(results []commands.Result, err error) {
		defer s.open.Done()
		outcome := "ok"
		if err != nil {
			outcome = s.replyError(reply, err)
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
			b = append(b, natsio.EncodeError(err, s.cfg.Log).Body...)
			continue
		}
		b = append(b, `{"receipt":`...)
		b = append(b, results[i].Receipt.Encode()...)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}
