package feeds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// EraseAgent removes the messages of an erased agent: its state, its lifecycle up to the
// erasure, its heartbeats, and the messages that it has sent or received.
func (s *Streams) EraseAgent(ctx context.Context, agent string) error {
	root := s.Subjects.Root
	err := s.erase(ctx, []feedSubject{
		{AgentState, root("agents.state.") + agent},
		{AgentState, root("agents.state.") + agent + ".>"},
		{AgentState, root("agents.state.") + "kv.$KV.AGENT_STATE." + agent + ".>"}, // the bucket's republish
		{AgentState, root("agents.heartbeat.") + agent},
		{AgentState, root("agents.lifecycle.") + agent + ".hydration_started"},
		{AgentState, root("agents.lifecycle.") + agent + ".flush_started"},
		{AgentState, root("agents.lifecycle.") + agent + ".expired"},
		{AgentState, root("agents.lifecycle.") + agent + ".retired"},
		{AgentState, root("agents.lifecycle.") + agent + ".forked"},
		{AgentState, root("agents.lifecycle.") + agent + ".revert_started"},
		{AgentState, root("agents.lifecycle.") + agent + ".reverted"},
		{AgentMessages, root("messages.direct.") + agent + ".*"},
		{AgentMessages, root("messages.direct.") + "*." + agent},
		{AgentMessages, root("messages.broadcast.") + agent},
	})
	if err != nil {
		return err
	}
	return s.eraseNotifications(ctx, agent)
}

// EraseTask removes the messages of an erased task.
func (s *Streams) EraseTask(ctx context.Context, id string) error {
	root := s.Subjects.Root
	return s.erase(ctx, []feedSubject{
		{TaskExecution, root("tasks.*.") + id},
		{TaskExecution, root("tasks.*.") + id + ".*"},
	})
}

type feedSubject struct{ stream, subject string }

// erase removes messages. An embedded server encrypts its files where agents can be erased,
// and overwrites nothing then: one purge of a subject is enough. Other servers overwrite
// message by message.
func (s *Streams) erase(ctx context.Context, subjects []feedSubject) error {
	for _, f := range subjects {
		st, err := s.JS.Stream(ctx, f.stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open stream %s: %w", f.stream, err)
		}
		if s.embedded && st.Purge(ctx, jetstream.WithPurgeSubject(f.subject)) == nil {
			continue
		}
		end := st.CachedInfo().State.LastSeq + 1 // what is published meanwhile is of a new life: it stays, and is not waited for
		if _, err := natsio.EraseMessages(ctx, s.nc, st, f.subject, end); err != nil {
			return err
		}
	}
	return nil
}

// eraseNotifications removes the notifications that an agent has sent: only their
// bodies name the sender.
func (s *Streams) eraseNotifications(ctx context.Context, agent string) error {
	st, err := s.JS.Stream(ctx, AgentMessages)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open stream %s: %w", AgentMessages, err)
	}
	filter := s.Subjects.Root("messages.notification.") + ">"
	for next := uint64(1); ; next++ {
		request, err := json.Marshal(map[string]any{"seq": next, "next_by_subj": filter})
		if err != nil {
			return err
		}
		msg, err := natsio.LeaderGet(ctx, s.nc, AgentMessages, string(request))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the notifications: %w", err)
		}
		next = msg.Sequence
		var w struct {
			From string `json:"from"`
		}
		if json.Unmarshal(msg.Data, &w) != nil || w.From != agent {
			continue
		}
		if err := st.SecureDeleteMsg(ctx, msg.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return fmt.Errorf("remove a notification of %s: %w", agent, err)
		}
	}
}
