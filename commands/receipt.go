package commands

import (
	"strconv"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
)

// Receipt is the result of a command that was not refused (contract, section 2).
type Receipt struct {
	CommandID string
	Outcome   domain.Outcome
	Aggregate string
	ID        string
	Key       string
	Version   uint64 // of the aggregate after the command
	Revision  uint64 // of the event in its journal
	Token     string
	Value     string          // of the entry after a command that computes, as JSON; empty = none
	Replayed  bool            // the command id took effect before; the rest is its first receipt
	Keys      *int            // number of entries that a revert of an agent changed; nil = it is none
	Task      string          // state of the task that was claimed, as JSON; empty = none
	Erasure   *ReceiptErasure // of an erasure; nil = none
}

// ReceiptErasure is what an erasure did.
type ReceiptErasure struct {
	events.Erasure
	// Complete: nothing is left in read models, feeds and SQL; otherwise they are
	// still being cleaned, and the receipt of the same command id says when it is done.
	Complete bool
}

// receipt is that of a command which left its aggregate at a version and
// revision.
func (h *Handler) receipt(cmd *Command, o domain.Outcome, version, revision uint64) Receipt {
	h.acked.raise(h.journal.Partition(cmd.ID), revision)
	return Receipt{
		CommandID: cmd.CommandID, Outcome: o, Aggregate: cmd.Aggregate, ID: cmd.ID, Key: cmd.Key,
		Version: version, Revision: revision,
		Token: domain.TokenAt(h.journal.Incarnation(), h.journal.Partition(cmd.ID), revision).String(),
	}
}

// receiptAt is the receipt of a command that left its aggregate at a head.
func (h *Handler) receiptAt(cmd *Command, o domain.Outcome, at *head, revision uint64) Receipt {
	r := h.receipt(cmd, o, at.version, revision)
	if entry, ok := at.state.(agent.Entry); ok && cmd.computes {
		r.Value = string(entry.Value)
	}
	if t, ok := at.state.(task.Task); ok && cmd.claims {
		state, _ := domain.Encode(t) // it was read from such a text
		r.Task = string(state)
	}
	return r
}

// Encode is the receipt as the reply's body.
func (r *Receipt) Encode() []byte {
	b := append(make([]byte, 0, 256), '{')
	b = events.AppendString(b, "command_id", r.CommandID)
	b = append(b, ',')
	b = events.AppendString(b, "outcome", string(r.Outcome))
	b = append(b, ',')
	b = events.AppendString(b, "aggregate", r.Aggregate)
	b = append(b, ',')
	b = events.AppendString(b, "id", r.ID)
	if r.Key != "" {
		b = append(b, ',')
		b = events.AppendString(b, "key", r.Key)
	}
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, r.Version, 10)
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, r.Revision, 10)
	b = append(b, ',')
	b = events.AppendString(b, "token", r.Token)
	b = append(b, `,"replayed":`...)
	b = strconv.AppendBool(b, r.Replayed)
	if r.Value != "" {
		b = append(append(b, `,"value":`...), r.Value...)
	}
	if r.Keys != nil {
		b = strconv.AppendInt(append(b, `,"keys":`...), int64(*r.Keys), 10)
	}
	if e := r.Erasure; e != nil {
		b = strconv.AppendInt(append(b, `,"erasure":{"entries":`...), int64(e.Entries), 10)
		b = strconv.AppendInt(append(b, `,"config":`...), int64(e.Config), 10)
		b = strconv.AppendInt(append(b, `,"tasks":`...), int64(e.Tasks), 10)
		b = strconv.AppendInt(append(b, `,"sessions":`...), int64(e.Sessions), 10)
		b = strconv.AppendInt(append(b, `,"claims":`...), int64(e.Claims), 10)
		b = strconv.AppendInt(append(b, `,"reminders":`...), int64(e.Reminders), 10)
		b = strconv.AppendInt(append(b, `,"data_keys":`...), int64(len(e.DataKeys)+e.More), 10)
		b = append(strconv.AppendBool(append(b, `,"complete":`...), e.Complete), '}')
	}
	return append(b, '}')
}
