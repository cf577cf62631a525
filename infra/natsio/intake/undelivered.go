package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// tasksStream is the feed that workers take tasks from.
	tasksStream = "TASK_EXECUTION"
	// sourceConsumers is the source of dead letters that workers did not
	// acknowledge, before "<stream>.<consumer>".
	sourceConsumers = "consumer."
	// maxDeliveriesAdvisory reports that a consumer has delivered a message for the
	// last time (ADR-13).
	maxDeliveriesAdvisory = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."
)

// watchUndelivered makes a dead letter of each task that a consumer of the feed
// has delivered for the last time without an acknowledgement. The server reports it
// once, to one of the engines.
func (in *Intake) watchUndelivered() error {
	_, err := in.conn.QueueSubscribe(maxDeliveriesAdvisory+tasksStream+".*", "tidemark", func(m *nats.Msg) {
		if in.stopping.Err() != nil {
			return
		}
		if err := in.undelivered(in.stopping, m.Data); err != nil {
			in.log.Error("a task that no worker acknowledged is not stored as a dead letter", "error", err)
		}
	})
	if err != nil {
		return fmt.Errorf("watch undelivered tasks: %w", err)
	}
	return nil
}

func (in *Intake) undelivered(ctx context.Context, advisory []byte) error {
	var a struct {
		Consumer   string `json:"consumer"`
		StreamSeq  uint64 `json:"stream_seq"`
		Deliveries int    `json:"deliveries"`
	}
	if err := json.Unmarshal(advisory, &a); err != nil {
		return fmt.Errorf("read the advisory: %w", err)
	}
	stream, err := in.js.Stream(ctx, tasksStream)
	if err != nil {
		return err
	}
	task, err := stream.GetMsg(ctx, a.StreamSeq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil // beyond the limits of the feed
	}
	if err != nil {
		return err
	}
	// The subject has one token for the consumer, so its name may hold no dot.
	source := sourceConsumers + tasksStream + "." + strings.ReplaceAll(a.Consumer, ".", "_")
	reason := fmt.Sprintf("delivered %d times without an acknowledgement", a.Deliveries)
	msg := &nats.Msg{Subject: in.streams.deadLetterRoot + source, Data: task.Data, Header: nats.Header{
		headerReason: {reason}, headerSource: {source}, headerSubject: {task.Subject}, headerStream: {tasksStream},
		headerSequence: {strconv.FormatUint(a.StreamSeq, 10)}, headerTime: {task.Time.UTC().Format(time.RFC3339Nano)},
	}}
	in.log.Error("storing a message as a dead letter", "source", source, "subject", task.Subject, "reason", reason)
	return in.publish(ctx, msg, DeadLettersStream, jetstream.WithMsgID(source+"-"+strconv.FormatUint(a.StreamSeq, 10)))
}

// DeadLetterCounts returns the number of dead letters by source.
func (in *Intake) DeadLetterCounts(ctx context.Context) (map[string]uint64, error) {
	s, err := in.js.Stream(ctx, DeadLettersStream)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(in.streams.deadLetterRoot+">"))
	if err != nil {
		return nil, err
	}
	counts := map[string]uint64{}
	for subject, n := range info.State.Subjects {
		counts[strings.TrimPrefix(subject, in.streams.deadLetterRoot)] = n
	}
	return counts, nil
}

// Enqueued returns how many enqueued commands have no outcome yet, and when the oldest of
// them was stored; zero = there are none.
func (in *Intake) Enqueued(ctx context.Context) (n uint64, oldest time.Time, err error) {
	s, err := in.js.Stream(ctx, CommandsStream)
	if err != nil {
		return 0, oldest, err
	}
	if state := s.CachedInfo().State; state.Msgs > 0 {
		return state.Msgs, state.FirstTime, nil
	}
	return 0, oldest, nil
}
