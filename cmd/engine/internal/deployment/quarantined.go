package deployment

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/history"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// Quarantined are the aggregates that views hold in quarantine, oldest first.
func Quarantined(ctx context.Context, nc *nats.Conn) ([]quarantine.Entry, error) {
	q, err := natsquarantine.OpenReadOnly(ctx, nc)
	if err != nil || q == nil {
		return nil, err
	}
	all, err := q.All(ctx)
	return slices.DeleteFunc(all, func(h quarantine.Entry) bool { return !h.Waits() }), err
}

// QuarantinedPage is Quarantined for a page: at most limit of them, those that were written
// least recently, oldest first, and whether there are more.
func QuarantinedPage(ctx context.Context, nc *nats.Conn, limit int) (some []quarantine.Entry, more bool, err error) {
	q, err := natsquarantine.OpenReadOnly(ctx, nc)
	if err != nil || q == nil {
		return nil, false, err
	}
	return q.Page(ctx, limit)
}

// excludedBy reports which events of this journal a view holds in quarantine, or has dropped.
func (s *Stores) excludedBy(ctx context.Context, nc *nats.Conn, view string) (func(history.Message) bool, error) {
	var all []quarantine.Entry
	q, err := natsquarantine.OpenReadOnly(ctx, nc)
	if err == nil && q != nil {
		all, err = q.All(ctx)
	}
	return func(m history.Message) bool {
		return slices.ContainsFunc(all, func(h quarantine.Entry) bool {
			return h.View == view && h.Partition == m.Partition && h.Stream == m.Name && h.Journal == s.Journal.ID() &&
				h.AppliedAt == 0 && h.Excludes(m.Revision)
		})
	}, err
}

// QuarantineID names a quarantined aggregate: VIEW:AGGREGATE.
func QuarantineID(h *quarantine.Entry) string { return h.View + ":" + string(h.Stream) }

// QuarantinedAs are the quarantined aggregates with an id, or all, that an operator can ask
// for: notifications follow the durable view, which is asked in their place.
func QuarantinedAs(ctx context.Context, nc *nats.Conn, which string) ([]quarantine.Entry, error) {
	some, err := Quarantined(ctx, nc)
	some = slices.DeleteFunc(some, func(h quarantine.Entry) bool { return which != "all" && which != QuarantineID(&h) })
	return slices.DeleteFunc(some, func(h quarantine.Entry) bool {
		return h.View == durable.Notifications && slices.ContainsFunc(some, func(front quarantine.Entry) bool {
			return front.View == "durable" && front.Stream == h.Stream
		})
	}), err
}

// Settled is what became of a quarantined aggregate.
type Settled struct {
	ID     string
	Result string
	Detail string
	Still  bool // it is still quarantined
}

// CaughtUp is the result of a retry that has succeeded.
const CaughtUp = "caught up"

// NoResult means that no engine has answered in time.
type NoResult struct{ ID string }

func (e *NoResult) Error() string { return e.ID + ": no result: is the view running?" }

// SettleQuarantined asks the engines that run the views to retry or drop
// (quarantine.RequestRetry, RequestDrop), so that a view applies nothing else meanwhile. It
// reports what became of each.
func SettleQuarantined(ctx context.Context, q *natsquarantine.Store, some []quarantine.Entry, what string, report func(Settled) error) error {
	for i := range some {
		if err := q.Request(ctx, some[i], what); err != nil {
			return err
		}
	}
	for i := range some {
		now, there, err := q.Await(ctx, some[i])
		s := Settled{ID: QuarantineID(&some[i])}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return &NoResult{s.ID}
		case err != nil:
			return err
		case there && now.Waits():
			s.Still = true
			s.Result, s.Detail = "still quarantined", fmt.Sprintf("since revision %d: %s", now.First, now.Reason)
		case what == quarantine.RequestDrop:
			s.Result, s.Detail = "dropped", "with "+counted.Of(some[i].Waiting, "event")
		default:
			s.Result, s.Detail = CaughtUp, "the view has applied its events"
		}
		if err := report(s); err != nil {
			return err
		}
	}
	return nil
}
