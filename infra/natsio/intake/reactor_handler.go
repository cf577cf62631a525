package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// enqueue.reactor.<name>.react runs a reactor again on one event.
const (
	reactorAggregate = "reactor"
	reactVerb        = "react"
)

const reactTime = 15 * time.Second // one call of a reactor

// eventHandler handles one event type for a reactor; it implements
// cqrs.GroupEventHandler.
type eventHandler struct {
	in      *Intake
	reactor *reactors.Reactor
	typ     string
}

func (h *eventHandler) HandlerName() string { return h.reactor.Name + "/" + h.typ }
func (h *eventHandler) NewEvent() any       { return &journalEvent{typ: h.typ} }
func (h *eventHandler) Handle(ctx context.Context, event any) error {
	return h.in.react(ctx, h.reactor, event.(*journalEvent).rec)
}

func (in *Intake) react(ctx context.Context, r *reactors.Reactor, rec events.Record) error {
	ctx, cancel := context.WithTimeout(ctx, reactTime)
	defer cancel()
	return r.React(ctx, rec, func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
		if err := ctx.Err(); err != nil {
			return commands.Receipt{}, domain.Errorf(domain.Unavailable, "engine.stopping", "not sent: %v", err)
		}
		return in.cfg.Send(context.WithoutCancel(ctx), req)
	})
}

// reactBody is the body of enqueue.reactor.<name>.react, the retry of a
// reactor's dead letter.
type reactBody struct {
	Stream   string `json:"stream"`
	Revision uint64 `json:"revision"`
}

// mayReact reports whether a stored command of an account may run a reactor, which has the
// rights of the engine: those of the engine itself, of its operator, and of the clients of
// development mode. To others there is no such aggregate.
func (in *Intake) mayReact(account string) bool {
	if in.cfg.Identify == nil || account == in.streams.dev {
		return true
	}
	caller := in.cfg.Identify(account)
	return caller != nil && caller.Principal == identity.Operator
}

// retryReaction reads one event from the journal and runs a reactor on it.
func (in *Intake) retryReaction(ctx context.Context, cmd *storedCommand) (body []byte, result string, err error) {
	r := in.reactor(cmd.ID)
	if r == nil || cmd.Verb != reactVerb {
		return nil, "", domain.Errorf(domain.NotFound, "command.unknown", "%.256q: this engine has no such reactor", cmd.subject)
	}
	var req reactBody
	if err := domain.DecodeBody(cmd.Body, &req); err != nil {
		return nil, "", err
	}
	partition, ok := in.eventMarshaler().partitions[req.Stream]
	if !ok {
		return nil, "", domain.Errorf(domain.Invalid, "event.not_found", "there is no journal stream %.64q", req.Stream)
	}
	rec, err := in.cfg.Journal.At(ctx, partition, req.Revision)
	switch {
	case req.Revision == 0 || errors.Is(err, history.ErrNoEntry):
		return nil, "", domain.Errorf(domain.Invalid, "event.not_found", "%s has no event at revision %d", req.Stream, req.Revision)
	case err == nil && !slices.Contains(r.Types, rec.Type): // a reactor has the rights of the engine
		return nil, "", domain.Errorf(domain.Invalid, "event.unhandled", "reactor %s does not handle %s", r.Name, rec.Type)
	case err == nil:
		err = in.react(ctx, r, rec)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: reactor %s on revision %d of %s", err, r.Name, req.Revision, req.Stream)
	}
	body, err = json.Marshal(map[string]any{"command_id": cmd.CommandID, "outcome": "accepted", "aggregate": reactorAggregate, "id": r.Name})
	return body, "accepted", err
}
