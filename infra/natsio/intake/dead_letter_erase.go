package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// EraseAgent overwrites and removes the dead letters of commands on an erased agent, on
// its configuration, on the tasks, sessions, reminders and claims that were erased with it, of messages
// that it has sent, and of batches that name it.
func (d *DeadLetters) EraseAgent(ctx context.Context, agent string, tasks, sessions, reminders, claims []string) error {
	all, err := d.All(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		if !d.concerns(&all[i], agent, tasks, sessions, reminders, claims) {
			continue
		}
		err := d.stream.SecureDeleteMsg(ctx, all[i].Seq)
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return fmt.Errorf("remove dead letter %d: %w", all[i].Seq, err)
		}
	}
	return nil
}

func (d *DeadLetters) concerns(l *DeadLetter, agent string, tasks, sessions, reminders, claims []string) bool {
	subject, enqueued := strings.CutPrefix(l.Subject, d.enqueueRoot)
	tokens := strings.Split(subject, ".")
	if len(tokens) < 2 {
		return enqueued && bytes.Contains(l.Body, []byte("."+agent+"."))
	}
	switch tokens[0] {
	case "agent", "config", "message":
		return enqueued && tokens[1] == agent
	case "task":
		return enqueued && slices.Contains(tasks, tokens[1])
	case "session":
		return enqueued && slices.Contains(sessions, tokens[1])
	case "claim":
		return enqueued && slices.Contains(claims, tokens[1])
	case "reminder": // also one that was refused, whose command is on the agent
		return enqueued && (slices.Contains(reminders, tokens[1]) || bytes.Contains(l.Body, []byte("."+agent+".")))
	}
	// A message of the feed that a consumer has given up: tasks.started.<task>.<agent>.
	return !enqueued && len(tokens) > 2 && slices.Contains(tasks, tokens[len(tokens)-2])
}
