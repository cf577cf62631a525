package outbox

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// parseSubject sets the aggregate, its id and the verb from the row's subject, or
// why it is not a command's.
func (o *Outbox) parseSubject(r *row) {
	r.aggregate, r.aggregateID, r.verb, r.refusal = commands.ParseSubject(commands.Below(o.Prefix, r.subject))
}

// executeRow executes the command of a row.
func (o *Outbox) executeRow(ctx context.Context, r *row) result {
	switch {
	case r.refusal != nil:
		return o.rejected(r.id, r.refusal)
	case r.commandID == "":
		return o.rejected(r.id, domain.Errorf(domain.Invalid, "id.invalid", "command_id is empty"))
	case r.body == nil:
		return o.rejected(r.id, domain.Errorf(domain.TooLarge, "body.too_large",
			"the body has %d bytes, at most %d are accepted", r.bodyBytes, o.BodyBytes))
	}
	made := time.Unix(0, 0) // an impossible creation time says nothing
	if r.created != nil {
		made = r.created.Add(-clockSkew)
	}
	done := make(chan result, 1)
	// A stopping relay does not interrupt a command; the handler limits its time.
	ctx = context.WithoutCancel(ctx)
	if o.Caller != nil {
		if c := o.Caller(r.role, r.own); c != nil {
			ctx = identity.With(ctx, c)
		}
	}
	o.Handle(ctx, commands.Request{
		Aggregate: r.aggregate, ID: r.aggregateID, Verb: r.verb, CommandID: r.commandID, Body: []byte(*r.body), MadeAt: made,
	}, func(receipt commands.Receipt, err error) {
		if err != nil {
			done <- o.rejected(r.id, err)
			return
		}
		done <- result{id: r.id, done: true, outcome: string(receipt.Encode())}
	})
	// gofail: var outboxExecuted struct{}
	return <-done
}
