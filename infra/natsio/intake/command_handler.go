package intake

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain"
)

// maxDeliveries bounds how often a command may crash its engine. Clean stops
// while the command waits count too.
const maxDeliveries = 25

// handleCommand executes a stored command and publishes its outcome. An error
// makes the middleware retry it in place, a poison error makes it a dead letter.
func (in *Intake) handleCommand(ctx context.Context, cmd *storedCommand) error {
	if cmd.delivered > 1 || cmd.beforeStart {
		if done, err := in.hasOutcome(ctx, cmd); done || err != nil {
			return err
		}
	}
	if cmd.delivered > maxDeliveries {
		return &poisonError{fmt.Sprintf("delivered %d times without an outcome: the command may crash its engine", cmd.delivered)}
	}
	body, result, err := in.execute(ctx, cmd)
	if err != nil && !reactors.IsRefusal(err) {
		return err
	}
	return in.publishOutcome(ctx, cmd, body, result, err)
}

// execute runs a command and returns its receipt. A stop does not interrupt
// it; the command handler has its own timeout.
func (in *Intake) execute(ctx context.Context, cmd *storedCommand) (body []byte, result string, err error) {
	if cmd.Aggregate == reactorAggregate {
		return in.retryReaction(ctx, cmd)
	}
	receipt, err := in.cfg.Send(context.WithoutCancel(ctx), cmd.Request)
	if err != nil {
		return nil, "", err
	}
	return receipt.Encode(), string(receipt.Outcome), nil
}

// isTransient reports whether the command must wait in place until a store
// answers. Redelivered with a delay instead, it would lose its place in the lane.
func isTransient(err error) bool {
	var known *domain.Error
	return errors.As(err, &known) && (known.Kind == domain.Unavailable || known.Kind == domain.Overloaded)
}
