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

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/counted"
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
	// UndeliveredStream keeps these reports until an engine has made a dead letter of
	// each: the server sends a report once, also when no engine runs.
	UndeliveredStream   = "TIDEMARK_UNDELIVERED"
	undeliveredAge      = 7 * 24 * time.Hour // longer than the feed keeps a task
	undeliveredConsumer = "dead-letters"
	undeliveredTime     = 10 * time.Second // bounds one attempt to make a dead letter
	undeliveredPause    = 2 * time.Second  // before the next
)

func undeliveredConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: UndeliveredStream, Description: "Tidemark: tasks that a consumer has delivered for the last time, before they are dead letters",
		Subjects: []string{maxDeliveriesAdvisory + tasksStream + ".*"}, Retention: jetstream.WorkQueuePolicy,
		Storage: jetstream.FileStorage, MaxAge: undeliveredAge, Duplicates: duplicateWindow,
	}
}

// watchUndelivered makes a dead letter of each task that a consumer of the feed
// has delivered for the last time without an acknowledgement, in one of the engines.
func (in *Intake) watchUndelivered(ctx context.Context) error {
	c, err := in.js.CreateOrUpdateConsumer(ctx, UndeliveredStream, jetstream.ConsumerConfig{
		Durable: undeliveredConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 3 * undeliveredTime, MaxAckPending: -1,
	})
	var reports jetstream.ConsumeContext
	if err == nil {
		reports, err = c.Consume(in.report, jetstream.PullMaxMessages(1), jetstream.PullHeartbeat(2*time.Second))
	}
	if err != nil {
		return fmt.Errorf("watch undelivered tasks: %w", natsio.ConsumerError(UndeliveredStream, undeliveredConsumer, err))
	}
	in.reports = reports
	return nil
}

// checkUndelivered makes the consumer again if it was removed, or uses it again where another
// engine was faster.
func (in *Intake) checkUndelivered(ctx context.Context) error {
	_, err := in.js.Consumer(ctx, UndeliveredStream, undeliveredConsumer)
	missing := errors.Is(err, jetstream.ErrConsumerNotFound)
	if err != nil && !missing || in.stopping.Err() != nil {
		return err
	}
	select {
	case <-in.reports.Closed():
	default:
		if !missing {
			return nil
		}
		in.reports.Stop()
	}
	return in.watchUndelivered(ctx)
}

// report handles one advisory. A dead letter that cannot be stored is tried again.
func (in *Intake) report(m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(in.stopping, undeliveredTime)
	defer cancel()
	if err := in.undelivered(ctx, m.Data()); err != nil {
		in.log.Error("a task that no worker acknowledged is not stored as a dead letter yet", "error", err)
		_ = m.NakWithDelay(undeliveredPause) // on failure it is delivered again later
		return
	}
	_ = m.Ack() // on failure too: then the server knows the message id
}

func (in *Intake) undelivered(ctx context.Context, advisory []byte) error {
	var a struct {
		Consumer   string `json:"consumer"`
		StreamSeq  uint64 `json:"stream_seq"`
		Deliveries int    `json:"deliveries"`
	}
	if err := json.Unmarshal(advisory, &a); err != nil {
		in.log.Warn("an advisory cannot be read; it is ignored", "error", err)
		return nil
	}
	stream, err := in.js.Stream(ctx, tasksStream)
	if err != nil {
		return err
	}
	task, err := stream.GetMsg(ctx, a.StreamSeq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		in.log.Warn("a task that no worker acknowledged is in its feed no more; it stays started", "consumer", a.Consumer, "sequence", a.StreamSeq)
		return nil // beyond the limits of the feed
	}
	if err != nil {
		return err
	}
	// The subject has one token for the consumer, so its name may hold no dot.
	source := sourceConsumers + tasksStream + "." + strings.ReplaceAll(a.Consumer, ".", "_")
	reason := "delivered " + counted.Of(a.Deliveries, "time") + " without an acknowledgement"
	msg := &nats.Msg{Subject: in.streams.deadLetterRoot + source, Data: task.Data, Header: nats.Header{
		headerReason: {reason}, headerSource: {source}, headerSubject: {task.Subject}, headerStream: {tasksStream},
		headerSequence: {strconv.FormatUint(a.StreamSeq, 10)}, headerTime: {task.Time.UTC().Format(time.RFC3339Nano)},
	}}
	in.log.Error("storing a message as a dead letter", "source", source, "subject", task.Subject, "reason", reason)
	return in.storeLetter(ctx, source, msg, source+"-"+strconv.FormatUint(a.StreamSeq, 10))
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
		source := strings.TrimPrefix(subject, in.streams.deadLetterRoot)
		if strings.HasPrefix(source, sourceCommands+".") { // of a principal
			source = sourceCommands
		}
		counts[source] += n
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
	if info := s.CachedInfo(); info.State.Msgs > 0 {
		return info.State.Msgs, firstStoredAt(info, time.Now()), nil
	}
	return 0, oldest, nil
}
