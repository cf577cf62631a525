package commands

import (
	"context"
	"strconv"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/grants"
)

// Next is a request on commands.tasks.next.
type Next struct {
	Kind    string // empty = any
	AgentID string
	Wait    time.Duration // for a task, when there is none
	start   events.TaskStart
	request request
}

const maxNextWaitMS = 60_000

// ReadNext reads the body of commands.tasks.next.
func ReadNext(body []byte) (Next, error) {
	var in struct {
		claimBody
		Kind   *string `json:"kind"`
		WaitMS int64   `json:"wait_ms"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Next{}, err
	}
	var n Next
	if in.Kind != nil {
		n.Kind = *in.Kind
		if err := domain.CheckID("kind", n.Kind); err != nil {
			return n, err
		}
	}
	var err error
	if n.start, n.request, err = in.start("next", n.Kind); err != nil {
		return n, err
	}
	n.AgentID, n.Wait = n.start.AgentID, time.Duration(in.WaitMS)*time.Millisecond
	return n, checkMillis("wait_ms.invalid", "wait_ms", in.WaitMS, 0, maxNextWaitMS)
}

// ClaimedElsewhere is the error of a claim for tasks.next whose command id has claimed
// another task before.
type ClaimedElsewhere struct{ Task string }

func (e *ClaimedElsewhere) Error() string { return "the command id has claimed task " + e.Task }

// PermitNext decides whether the sender of a request on tasks.next may claim tasks, and
// as which agents; condition is nil if it may do so as any.
func (h *Handler) PermitNext(ctx context.Context) (condition Condition, err error) {
	if h.cfg.Permit == nil {
		return nil, nil
	}
	return h.cfg.Permit(ctx, grants.Action{Kind: grants.Command, Aggregate: "task", Verb: "next"})
}

// EncodeNext is the receipt of a claim as the answer to tasks.next.
func (r *Receipt) EncodeNext() []byte {
	b := append(make([]byte, 0, 512+len(r.Task)), `{"task":{`...)
	b = events.AppendString(b, "task_id", r.ID)
	if len(r.Task) > 2 {
		b = append(append(b, ','), r.Task[1:len(r.Task)-1]...)
	}
	b = strconv.AppendUint(append(b, `,"version":`...), r.Version, 10)
	b = strconv.AppendUint(append(b, `,"revision":`...), r.Revision, 10)
	b = strconv.AppendUint(append(b, `},"fence":`...), r.Version, 10)
	b = append(append(b, `,"receipt":`...), r.Encode()...)
	return append(b, '}')
}
