package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
)

// result is the outcome of a row: a receipt or {"error":{…}}. A row that is not
// done is executed again.
type result struct {
	id      int64
	done    bool
	outcome string
}

// clockSkew is how far the database's clock may be ahead of the journal's.
// Deduplication searches events from the row's creation time minus clockSkew.
const clockSkew = time.Minute

// execute executes rows, those of each aggregate in order. It stops an aggregate at
// a command that must be retried and adds it to blocked.
func (o *Outbox) execute(ctx context.Context, rows []row, blocked map[string]bool) []result {
	var order []string
	queues := map[string][]row{}
	for _, r := range rows {
		o.parseSubject(&r)
		name := r.aggregate + "." + r.aggregateID
		if blocked[name] {
			continue
		}
		if queues[name] == nil {
			order = append(order, name)
		}
		queues[name] = append(queues[name], r)
	}
	var mu sync.Mutex
	var results []result
	var running sync.WaitGroup
	for _, name := range order {
		running.Go(func() {
			for _, r := range queues[name] {
				if ctx.Err() != nil {
					return
				}
				got := o.executeRow(ctx, &r)
				mu.Lock()
				results = append(results, got)
				blocked[name] = !got.done
				mu.Unlock()
				if !got.done {
					return
				}
			}
		})
	}
	running.Wait()
	return results
}

// parseSubject sets the aggregate, its id and the verb from the row's subject. It
// leaves them empty when the subject is not a command's.
func (o *Outbox) parseSubject(r *row) {
	// The prefix and "commands." are optional, as in a batch.
	tokens := strings.Split(strings.TrimPrefix(strings.TrimPrefix(r.subject, o.Prefix), "commands."), ".")
	if len(tokens) == 3 {
		r.aggregate, r.aggregateID, r.verb = tokens[0], tokens[1], tokens[2]
	}
}

// executeRow executes the command of a row.
func (o *Outbox) executeRow(ctx context.Context, r *row) result {
	if r.verb == "" {
		return rejected(r.id, domain.Errorf(domain.NotFound, "command.unknown",
			"%.256q is not <aggregate>.<id>.<verb>", r.subject))
	}
	if r.commandID == "" {
		return rejected(r.id, domain.Errorf(domain.Invalid, "id.invalid", "command_id is empty"))
	}
	done := make(chan result, 1)
	// A stopping relay does not interrupt a command; the handler limits its time.
	o.Handle(context.WithoutCancel(ctx), commands.Request{
		Aggregate: r.aggregate, ID: r.aggregateID, Verb: r.verb, CommandID: r.commandID, Body: []byte(r.body),
		MadeAt: r.created.Add(-clockSkew),
	}, func(receipt commands.Receipt, err error) {
		if err != nil {
			done <- rejected(r.id, err)
			return
		}
		done <- result{id: r.id, done: true, outcome: string(receipt.Encode())}
	})
	return <-done
}

// rejected returns the result of an error, which is final unless the error is
// temporary.
func rejected(id int64, err error) result {
	var e *domain.Error
	if !errors.As(err, &e) {
		e = domain.Errorf(domain.Internal, "internal", "an internal error: %v", err)
	}
	var body struct {
		Error struct {
			Kind    domain.Kind    `json:"kind"`
			Code    string         `json:"code"`
			Status  int            `json:"status"`
			Message string         `json:"message"`
			Details map[string]any `json:"details,omitempty"`
		} `json:"error"`
	}
	body.Error.Kind, body.Error.Code, body.Error.Status = e.Kind, e.Code, e.Kind.Status()
	body.Error.Message, body.Error.Details = strings.ToValidUTF8(strings.ReplaceAll(e.Message, "\x00", ""), "?"), e.Details
	text, jerr := json.Marshal(body)
	if jerr != nil {
		text = []byte(`{"error":{"kind":"internal","code":"internal"}}`)
	}
	again := e.Kind == domain.Overloaded || e.Kind == domain.Unavailable
	return result{id: id, done: !again, outcome: string(text)}
}
