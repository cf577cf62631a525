package intake

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// EraseAgent overwrites and removes the dead letters of commands that concern an erased agent
// or what was erased with it, and of tasks erased with it that a consumer has given up.
func (d *DeadLetters) EraseAgent(ctx context.Context, erased readmodel.Erased) error {
	return d.Each(ctx, func(l *DeadLetter) error {
		if !d.concerns(l, erased) {
			return nil
		}
		return overwrite(ctx, d.stream, l.Seq)
	})
}

// overwrite overwrites and removes a message that may be gone.
func overwrite(ctx context.Context, s jetstream.Stream, seq uint64) error {
	err := s.SecureDeleteMsg(ctx, seq)
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("remove message %d of stream %s: %w", seq, s.CachedInfo().Config.Name, err)
	}
	return nil
}

func (d *DeadLetters) concerns(l *DeadLetter, erased readmodel.Erased) bool {
	if command, ok := strings.CutPrefix(l.Subject, d.enqueueRoot); ok {
		return erased.Concerns(command, l.Body)
	}
	// A message of the feed: tasks.<what>.<task> with or without another token.
	feed, ok := strings.CutPrefix(l.Subject, d.taskRoot)
	tokens := strings.Split(feed, ".")
	return ok && len(tokens) > 1 && erased("task", tokens[1])
}

// outcomePage is how many outcomes EraseOutcomes reads at a time.
const outcomePage = 2000

// EraseOutcomes overwrites and removes the receipts of enqueued commands that hold a value of
// what was erased, up to the revision of the erasure, and the errors of commands on it, which may
// quote one.
func EraseOutcomes(ctx context.Context, nc *nats.Conn, subjects natsio.Subjects, erased readmodel.Erased, revision uint64) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, OutcomesStream)
	if err != nil {
		return fmt.Errorf("open stream %s: %w", OutcomesStream, err)
	}
	q := natsio.PageQuery{Subject: ">", FromSeq: 1, Batch: outcomePage}
	for more := true; more; {
		var msgs []*jetstream.RawStreamMsg
		if msgs, more, err = q.Page(ctx, nc, OutcomesStream); err != nil {
			return fmt.Errorf("read the outcomes: %w", err)
		}
		for _, msg := range msgs {
			q.FromSeq = msg.Sequence + 1
			var r struct {
				Aggregate string         `json:"aggregate"`
				ID        string         `json:"id"`
				Revision  uint64         `json:"revision"`
				Value     jsontext.Value `json:"value"`
				Error     jsontext.Value `json:"error"`
			}
			if json.Unmarshal(msg.Data, &r) != nil {
				continue
			}
			shows := len(r.Value) > 0 && r.Revision <= revision && erased(r.Aggregate, r.ID)
			if len(r.Error) > 0 {
				shows = erased.Concerns(strings.TrimPrefix(header(msg.Header, headerSubject), subjects.Root("enqueue.")), nil)
			}
			if !shows {
				continue
			}
			if err := overwrite(ctx, s, msg.Sequence); err != nil {
				return err
			}
		}
	}
	return nil
}
