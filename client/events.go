package client

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"
)

// Event is an event of the journal.
type Event struct {
	Type        string          `json:"type"` // agent.state_set
	Aggregate   string          `json:"aggregate"`
	ID          string          `json:"id"`
	Key         string          `json:"key"`
	Version     uint64          `json:"version"`
	Timestamp   time.Time       `json:"timestamp"`
	RecordedAt  time.Time       `json:"recorded_at"`
	Writer      string          `json:"writer"`
	Actor       string          `json:"actor"`
	CommandID   string          `json:"command_id"`
	Traceparent string          `json:"traceparent"`
	Data        json.RawMessage `json:"data"`
	State       json.RawMessage `json:"state"`
	Digest      string          `json:"digest"`
	Revision    uint64          `json:"revision"`
}

// errOlder: a later build than the engine's wrote the event, so waiting does not help.
var errOlder = &Error{Kind: "unavailable", Code: "engine.older"}

// EventsFrom says which events to read.
type EventsFrom struct {
	Subject   string // NATS pattern of names below events., "agent.a1.>"; "" = all
	Revision  uint64 // the first; 0 = from the beginning
	Until     uint64 // the last; 0 = go on with what comes, until the end of the context
	Partition int    // of the journal, where it has several and Subject names no id
}

// Events reads events, oldest first, from the archive and the journal as one sequence, and
// goes on with those that come. A consumer that keeps the Revision of the last event it
// has handled continues with the next one: each event comes once, in order. An engine that
// is not available is waited for; the sequence ends with an error, or at Until.
func (c *Client) Events(ctx context.Context, from EventsFrom) iter.Seq2[Event, error] {
	const page, wait = 1000, 20 * time.Second
	return func(yield func(Event, error) bool) {
		body := map[string]any{"limit": page, "wait_ms": wait.Milliseconds()}
		if from.Subject != "" {
			body["subject"] = from.Subject
		}
		if from.Until > 0 {
			body["until"] = from.Until
		}
		if from.Partition > 0 {
			body["partition"] = from.Partition
		}
		next := max(from.Revision, 1)
		for from.Until == 0 || next <= from.Until {
			var answer struct {
				Events []Event `json:"events"`
				Next   uint64  `json:"next"`
			}
			body["from"] = next
			err := c.send(ctx, "queries.events.read", "", body, wait, &answer)
			if ctx.Err() != nil {
				yield(Event{}, ctx.Err())
				return
			}
			if err != nil {
				if errors.Is(err, ErrUnavailable) && !errors.Is(err, errOlder) {
					continue // the patience of send has ended; this reader has more
				}
				yield(Event{}, err)
				return
			}
			for _, event := range answer.Events {
				if !yield(event, nil) {
					return
				}
			}
			next = answer.Next
		}
	}
}
