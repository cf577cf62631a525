package intake

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/trace"
)

// maxDeliveries bounds how often a command may crash its engine. Clean stops
// while the command waits count too. A command that was stored after the start has
// not crashed this engine, however often it was delivered: while the server was away,
// or the engine was frozen.
const maxDeliveries = 25

// handleCommand executes a stored command and publishes its outcome. After a
// transient error the command waits with its aggregate; after another one it is
// retried in place, and a poison error makes it a dead letter.
func (in *Intake) handleCommand(ctx context.Context, cmd *storedCommand) error {
	if cmd.delivered > 1 || cmd.beforeStart {
		if done, err := in.hasOutcome(ctx, cmd); done || err != nil {
			return err
		}
	}
	if cmd.delivered > maxDeliveries && cmd.seq <= in.storedBefore && !in.gaveBack.Load() {
		return &poisonError{"delivered " + counted.Of(cmd.delivered, "time") + " without an outcome: the command may crash its engine"}
	}
	body, result, err := []byte(nil), "", cmd.refusal
	if err == nil {
		body, result, err = in.execute(ctx, cmd)
	}
	if err != nil && (!reactors.IsRefusal(err) || isTransient(err)) {
		return err
	}
	if neverSucceeds(err) {
		if err := in.setAside(ctx, cmd, err); err != nil {
			return err
		}
	}
	// gofail: var queueOutcome struct{}
	// return context.DeadlineExceeded
	return in.publishOutcome(ctx, cmd, body, result, err)
}

// neverSucceeds reports whether a refusal depends on the command alone, not on
// the state of its aggregate. Such a command is also a dead letter.
func neverSucceeds(refusal error) bool {
	var known *domain.Error
	if !errors.As(refusal, &known) {
		return false
	}
	return known.Kind == domain.Invalid || known.Kind == domain.TooLarge || known.Code == "command.unknown"
}

// setAside makes a dead letter of a refused command.
func (in *Intake) setAside(ctx context.Context, cmd *storedCommand, refusal error) error {
	m := cqrs.OriginalMessageFromCtx(ctx)
	m.Metadata.Set(middleware.ReasonForPoisonedKey, refusal.Error())
	defer delete(m.Metadata, middleware.ReasonForPoisonedKey)
	letters := deadLetterPublisher{in: in, source: sourceCommands, commandID: cmd.CommandID}
	return letters.Publish(in.streams.deadLetterRoot+sourceCommands, m)
}

// execute runs a command and returns its receipt. A stop does not interrupt
// it; the command handler has its own timeout.
func (in *Intake) execute(ctx context.Context, cmd *storedCommand) (body []byte, result string, err error) {
	if cmd.Aggregate == reactorAggregate && in.mayReact(cmd.account) {
		return in.retryReaction(ctx, cmd)
	}
	caller, known := in.sender(cmd.account)
	if !known {
		return nil, "", domain.Errorf(domain.Forbidden, "forbidden", "the principal that enqueued this command has been revoked")
	}
	span, carried := in.cfg.Trace.Consume(cmd.trace, cmd.kind, cmd.began)
	sending := trace.With(context.WithoutCancel(ctx), carried)
	if caller != nil {
		sending = identity.With(sending, caller)
	}
	receipt, err := in.cfg.Send(sending, cmd.Request)
	natsio.EndSpan(span, string(receipt.Outcome), err)
	if err != nil {
		return nil, "", err
	}
	return receipt.Encode(), string(receipt.Outcome), nil
}

// isTransient reports whether the command must wait with its aggregate: until a
// store answers, or other writers let it be decided.
func isTransient(err error) bool {
	var known *domain.Error
	return errors.As(err, &known) && known.Undecided()
}
