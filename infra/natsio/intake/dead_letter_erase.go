package intake

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// EraseAgent overwrites and removes the dead letters of commands on an erased agent, on
// its configuration, and of messages that it has sent.
func (d *DeadLetters) EraseAgent(ctx context.Context, agent string) error {
	all, err := d.All(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		subject := strings.TrimPrefix(all[i].Subject, d.enqueueRoot)
		tokens := strings.Split(subject, ".")
		if subject == all[i].Subject || len(tokens) < 2 || tokens[1] != agent {
			continue
		}
		switch tokens[0] {
		case "agent", "config", "message":
			err := d.stream.SecureDeleteMsg(ctx, all[i].Seq)
			if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
				return fmt.Errorf("remove dead letter %d: %w", all[i].Seq, err)
			}
		}
	}
	return nil
}
