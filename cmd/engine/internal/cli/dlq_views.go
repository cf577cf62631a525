package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
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
		ID: deployment.QuarantineID(h), Time: h.Since, Source: "view " + h.View, Subject: string(h.Stream), Reason: h.Reason,
		Partition: h.Partition, Revision: h.First, Last: h.Last, Waiting: h.Waiting, Attempts: h.Attempts,
	}
}

// ofView reports whether an id is of a quarantined aggregate, not of a dead letter.
func ofView(which string) bool { return strings.Contains(which, ":") }

// askViews asks the engine that runs the view to retry or drop, so that the view
// applies nothing else meanwhile; it waits for the result and prints it. It
// returns how many aggregates it has asked for.
func askViews(ctx context.Context, t *deployment.Target, out *Output, which, what string) (int, error) {
	nc, err := t.ConnectArea(ctx, "dlq")
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	some, err := deployment.QuarantinedAs(ctx, nc, which)
	if err != nil || len(some) == 0 {
		if err == nil && ofView(which) {
			err = fmt.Errorf("no view has %q in quarantine (engine dlq list)", which)
		}
		return 0, err
	}
	own, err := t.ConnectOperator(ctx, "dlq")
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
		recordAct(ctx, own, t, "dlq "+what, deployment.QuarantineID(&some[i]))
	}
	failed := 0
	err = deployment.SettleQuarantined(ctx, q, some, what, func(s deployment.Settled) error {
		if s.Still {
			failed++
		}
		separator := " "
		if s.Result == deployment.CaughtUp {
			separator = ": "
		}
		return out.settled(s.ID, s.Result, separator, s.Detail)
	})
	var late *deployment.NoResult
	if errors.As(err, &late) {
		return len(some), fmt.Errorf("%s: no result within %s: is the view running? (engine status)", late.ID, t.Timeout)
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d still quarantined", failed)
	}
	return len(some), err
}
