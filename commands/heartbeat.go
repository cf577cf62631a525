package commands

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
)

// Heartbeats publishes the heartbeats of agents, which are not state and leave no event.
type Heartbeats interface {
	// Publish stores a heartbeat under its message id. duplicate is set when the id is
	// in the stream's duplicate window; sequence is then that of the one stored before.
	// It fails with ErrIDReused when that one was of another request and with
	// ErrTooLarge when the stream refuses the size; after any other error the heartbeat
	// may or may not be stored.
	Publish(ctx context.Context, p Publication) (sequence uint64, duplicate bool, err error)
}

// Publication is one heartbeat to publish.
type Publication struct {
	Subject string // without the configured prefix
	ID      string // message id, derived from the agent and the command id
	Request string // fingerprint of the request
	Body    []byte
}

var (
	// ErrIDReused: the message id was used before, for another request.
	ErrIDReused = errors.New("heartbeats: the message id was used for another heartbeat")
	// ErrTooLarge: the stream accepts no heartbeat of this size.
	ErrTooLarge = errors.New("heartbeats: the heartbeat is too large for its stream")
)

// readHeartbeat reads an agent's heartbeat; the body may be empty.
func readHeartbeat(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		Status jsontext.Value `json:"status"`
	}
	err := domain.DecodeBody(body, &in)
	if err == nil {
		err = domain.CheckAgentID(id)
	}
	if err == nil {
		err = b.checkSize("status", in.Status)
	}
	return Command{
		Aggregate: "agent", ID: id, Name: events.AggregateName("agent." + id + ".heartbeat"),
		request: requestOf(in.Status, func(status string) string { return fingerprint("heartbeat", status) }),
		run: func(h *Handler, ctx context.Context, cmd *Command, _ bool) (Receipt, error) {
			return h.publish(ctx, cmd, "agents.heartbeat."+id, encodeHeartbeat(cmd.CommandID, id, in.Status, h.cfg.Now()))
		},
	}, err
}

// encodeHeartbeat is a heartbeat on the wire.
func encodeHeartbeat(commandID, agent string, status []byte, sentAt time.Time) []byte {
	b := append(make([]byte, 0, 128+len(status)), '{')
	b = append(events.AppendString(b, "agent_id", agent), ',')
	b = append(events.AppendString(b, "command_id", commandID), ',')
	if len(status) > 0 {
		b = append(append(append(b, `"status":`...), status...), ',')
	}
	return append(events.AppendTime(b, "sent_at", sentAt), '}')
}

// publish executes a heartbeat.
func (h *Handler) publish(ctx context.Context, cmd *Command, subject string, body []byte) (Receipt, error) {
	if h.cfg.Heartbeats == nil {
		return Receipt{}, domain.Errorf(domain.Unavailable, "messages.off", "this engine publishes no heartbeats")
	}
	sequence, duplicate, err := h.cfg.Heartbeats.Publish(ctx, Publication{
		Subject: subject, ID: MessageID(cmd.Name, cmd.CommandID), Request: cmd.request.print, Body: body,
	})
	switch {
	case errors.Is(err, ErrIDReused):
		return Receipt{}, domain.Errorf(domain.Conflict, "command.id_reused",
			"command id %s has been used by %s with another verb or body", cmd.CommandID, cmd.ID)
	case errors.Is(err, ErrTooLarge):
		return Receipt{}, domain.Errorf(domain.TooLarge, "message.too_large", "%s is too large for its stream: %v", subject, err)
	case err != nil:
		return Receipt{}, domain.Errorf(domain.Unavailable, "messages.unavailable",
			"the stream for %s did not answer; send the same command id again (%v)", subject, err)
	}
	if duplicate {
		h.stats.Replays.Add(1)
	}
	p := h.journal.Partition(cmd.ID) // a heartbeat is not in the journal: its token is that of the last acknowledged command
	return Receipt{
		CommandID: cmd.CommandID, Outcome: domain.Accepted, Aggregate: cmd.Aggregate, ID: cmd.ID,
		Version: 1, Revision: sequence, Replayed: duplicate, Token: domain.TokenAt(h.journal.Incarnation(), p, h.acked.at(p)).String(),
	}, nil
}
