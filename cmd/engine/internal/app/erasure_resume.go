package app

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

// resume continues the interrupted erasures until each has ended. A large one goes on when its
// command has no answer in time.
func (x *eraser) resume(ctx context.Context) {
	pause := newErasePause()
	for ctx.Err() == nil {
		err := x.sendAgain(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		x.log.Warn("an interrupted erasure is not finished yet; it is tried again", "error", err)
		_ = wait.Sleep(ctx, pause.NextBackOff())
	}
}

func newErasePause() *backoff.ExponentialBackOff {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval, pause.RandomizationFactor = time.Second, time.Minute, 0.2
	return pause
}

// sendAgain sends the commands again whose erasure an engine has begun and not ended.
func (x *eraser) sendAgain(ctx context.Context) error {
	pending, err := x.keys.EachPending(ctx)
	for _, p := range pending {
		if p.Revision > 0 {
			continue
		}
		x.log.Info("an interrupted erasure is continued", "agent", p.Agent, "command_id", p.Command)
		body, bad := json.Marshal(map[string]string{"reason": p.Reason})
		if bad == nil {
			_, bad = x.e.commands.send(ctx, commands.Request{Aggregate: "agent", ID: p.Agent, Verb: "erase", CommandID: p.Command, Body: body})
		}
		var answer *domain.Error
		if errors.As(bad, &answer) && !answer.Undecided() {
			x.log.Error("an interrupted erasure is refused; it stays interrupted", "agent", p.Agent, "command_id", p.Command, "error", bad)
			continue
		}
		err = errors.Join(err, bad)
	}
	return err
}
