package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
	"github.com/tidemark-engine/tidemark/projections/quarantine"
)

// This file is the part of dlq that looks after what views hold: the engine
// that runs the view does what is asked, so that nothing else is applied
// meanwhile.

// heldLetter is an aggregate that a view leaves out, as dlq shows it.
type heldLetter struct {
	ID        string    `json:"id"` // <view>:<stream>
	Time      time.Time `json:"time"`
	Source    string    `json:"source"` // "view <name>"
	Subject   string    `json:"subject"`
	Reason    string    `json:"reason"`
	Partition int       `json:"partition"`
	Revision  uint64    `json:"revision"` // of the event that cannot be applied
	Last      uint64    `json:"last"`     // of the newest that waits behind it
	Waiting   int       `json:"waiting"`  // events, the first included
	Attempts  int       `json:"attempts"`
}

func letterOf(h *quarantine.Held) heldLetter {
	return heldLetter{
		ID: heldID(h), Time: h.Since, Source: "view " + h.View, Subject: string(h.Stream), Reason: h.Reason,
		Partition: h.Partition, Revision: h.First, Last: h.Last, Waiting: h.Waiting, Attempts: h.Attempts,
	}
}

func heldID(h *quarantine.Held) string { return h.View + ":" + string(h.Stream) }

// held are the aggregates that views leave out, oldest first; which is an id,
// or all.
func held(ctx context.Context, nc *nats.Conn, which string) (*natsquarantine.Store, []quarantine.Held, error) {
	q, err := natsquarantine.OpenReadOnly(ctx, nc)
	if err != nil || q == nil {
		return nil, nil, err
	}
	all, err := q.All(ctx)
	if err != nil {
		return nil, nil, err
	}
	var some []quarantine.Held
	for _, h := range all {
		if h.Waits() && (which == "all" || which == heldID(&h)) {
			some = append(some, h)
		}
	}
	return q, some, nil
}

// ofView tells an aggregate's id from a dead letter's number.
func ofView(which string) bool { return strings.Contains(which, ":") }

// askViews asks for the same of each, waits for what comes of it and prints
// that. It returns how many there were.
func (t *target) askViews(ctx context.Context, out *output, which, what string) (int, error) {
	nc, err := t.connect()
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	_, some, err := held(ctx, nc, which)
	if err != nil || len(some) == 0 {
		if err == nil && ofView(which) {
			err = fmt.Errorf("no view holds %q (engine dlq list)", which)
		}
		return 0, err
	}
	own, err := t.connectOperator(ctx)
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
		if err := q.Ask(ctx, some[i], what); err != nil {
			return 0, err
		}
	}
	failed := 0
	for i := range some {
		now, there, err := q.Await(ctx, some[i])
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return len(some), fmt.Errorf("%s: asked, and not done within %s: is the view running? (engine status)", heldID(&some[i]), t.Timeout)
		case err != nil:
			return len(some), err
		case there && now.Waits():
			failed++
			fmt.Fprintf(out, "%s still quarantined since revision %d: %s\n", heldID(&some[i]), now.First, now.Reason)
		case what == quarantine.AskDrop:
			fmt.Fprintf(out, "%s dropped: %d events given up\n", heldID(&some[i]), some[i].Waiting)
		default:
			fmt.Fprintf(out, "%s level again\n", heldID(&some[i]))
		}
	}
	if failed > 0 {
		return len(some), fmt.Errorf("%d still quarantined", failed)
	}
	return len(some), nil
}
