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

// result is what came of a row: a receipt, or {"error":{…}}. Without done the
// row stays and is carried out again.
type result struct {
	id      int64
	done    bool
	outcome string
}

// clocks is how far the database's clock may be ahead of the journal's for a
// command to be found again by the time its row was written.
const clocks = time.Minute

// carry carries rows out, each aggregate's in order. After one that must be
// tried again nothing of its aggregate is carried out; blocked holds those.
func (o *Outbox) carry(ctx context.Context, rows []row, blocked map[string]bool) []result {
	var order []string
	lines := map[string][]row{}
	for _, r := range rows {
		o.read(&r)
		name := r.aggregate + "." + r.of
		if blocked[name] {
			continue
		}
		if lines[name] == nil {
			order = append(order, name)
		}
		lines[name] = append(lines[name], r)
	}
	var mu sync.Mutex
	var results []result
	var open sync.WaitGroup
	for _, name := range order {
		open.Go(func() {
			for _, r := range lines[name] {
				if ctx.Err() != nil {
					return
				}
				got := o.one(ctx, &r)
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
	open.Wait()
	return results
}

// read takes a row's subject apart; one that is no command's leaves it empty.
func (o *Outbox) read(r *row) {
	// As in a batch, the root may stand before it or not.
	tokens := strings.Split(strings.TrimPrefix(strings.TrimPrefix(r.subject, o.Prefix), "commands."), ".")
	if len(tokens) == 3 {
		r.aggregate, r.of, r.verb = tokens[0], tokens[1], tokens[2]
	}
}

// one carries one row out.
func (o *Outbox) one(ctx context.Context, r *row) result {
	if r.verb == "" {
		return refused(r.id, domain.Errorf(domain.NotFound, "command.unknown",
			"%.256q is not <aggregate>.<id>.<verb>", r.subject))
	}
	if r.commandID == "" {
		return refused(r.id, domain.Errorf(domain.Invalid, "id.invalid", "command_id is empty"))
	}
	done := make(chan result, 1)
	// A stop does not cut a command in two; the handler bounds its time.
	o.Handle(context.WithoutCancel(ctx), commands.Request{
		Aggregate: r.aggregate, ID: r.of, Verb: r.verb, CommandID: r.commandID, Body: []byte(r.body),
		MadeAt: r.created.Add(-clocks),
	}, func(receipt commands.Receipt, err error) {
		if err != nil {
			done <- refused(r.id, err)
			return
		}
		done <- result{id: r.id, done: true, outcome: string(receipt.Encode())}
	})
	return <-done
}

// refused is the result of an error: final, unless waiting helps.
func refused(id int64, err error) result {
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
