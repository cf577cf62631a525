package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// heldLetter is a quarantined aggregate, as dlq shows it.
type heldLetter struct {
	ID        string    `json:"id"` // <view>:<aggregate>
	Time      time.Time `json:"time"`
	Source    string    `json:"source"` // "view <name>"
	Subject   string    `json:"subject"`
	Reason    string    `json:"reason"`
	Partition int       `json:"partition"`
	Revision  uint64    `json:"revision"` // of the event that the view cannot apply
	Last      uint64    `json:"last"`     // of the last event in quarantine
	Waiting   int       `json:"waiting"`  // events in quarantine
	Attempts  int       `json:"attempts"`
}

func letterOf(h *quarantine.Entry) heldLetter {
	return heldLetter{
		ID: heldID(h), Time: h.Since, Source: "view " + h.View, Subject: string(h.Stream), Reason: h.Reason,
		Partition: h.Partition, Revision: h.First, Last: h.Last, Waiting: h.Waiting, Attempts: h.Attempts,
	}
}

func heldID(h *quarantine.Entry) string { return h.View + ":" + string(h.Stream) }

// ofView reports whether an id is of a quarantined aggregate, not of a dead letter.
func ofView(which string) bool { return strings.Contains(which, ":") }

// askViews asks the engine that runs the view to retry or drop, so that the view
// applies nothing else meanwhile; it waits for the result and prints it. It
// returns how many aggregates it has asked for.
func askViews(ctx context.Context, t *deployment.Target, out *Output, which, what string) (int, error) {
	nc, err := t.ConnectStores()
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	some, err := deployment.Quarantined(ctx, nc)
	some = slices.DeleteFunc(some, func(h quarantine.Entry) bool { return which != "all" && which != heldID(&h) })
	if err != nil || len(some) == 0 {
		if err == nil && ofView(which) {
			err = fmt.Errorf("no view has %q in quarantine (engine dlq list)", which)
		}
		return 0, err
	}
	some = slices.DeleteFunc(some, func(h quarantine.Entry) bool {
		return h.View == durable.Notifications && slices.ContainsFunc(some, func(front quarantine.Entry) bool {
			return front.View == "durable" && front.Stream == h.Stream // notifications follow the durable view
		})
	})
	own, err := t.ConnectOperator(ctx)
	if err != nil {
		return 0, err
	}
	defer own.Close()
	q, err := natsquarantine.Open(ctx, own, slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	for i := range some {
		recordAct(ctx, own, t, "dlq "+what, heldID(&some[i]))
		if err := q.Request(ctx, some[i], what); err != nil {
			return 0, err
		}
	}
	failed := 0
	for i := range some {
		now, there, err := q.Await(ctx, some[i])
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return len(some), fmt.Errorf("%s: no result within %s: is the view running? (engine status)", heldID(&some[i]), t.Timeout)
		case err != nil:
			return len(some), err
		case there && now.Waits():
			failed++
			err = out.settled(heldID(&some[i]), "still quarantined", " ", fmt.Sprintf("since revision %d: %s", now.First, now.Reason))
		case what == quarantine.RequestDrop:
			err = out.settled(heldID(&some[i]), "dropped", " ", fmt.Sprintf("with %d events", some[i].Waiting))
		default:
			err = out.settled(heldID(&some[i]), "caught up", ": ", "the view has applied its events")
		}
		if err != nil {
			return len(some), err
		}
	}
	if failed > 0 {
		return len(some), fmt.Errorf("%d still quarantined", failed)
	}
	return len(some), nil
}
