package intake

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

const (
	sourceReactors = "reactor." // source of dead letters, before the name

	maxReactions = 10               // failures of one event in an engine before it becomes a dead letter
	eventAckWait = 10 * time.Second // how long an event stays with a dead engine
	// eventPull is the number of events that an engine prefetches. Only the one
	// being handled has its ack wait extended; the others may be redelivered.
	eventPull = 2
)

// openReactorRouter reads the journal with one durable consumer for each
// reactor and partition, shared by all engines. A new reactor starts with the
// events after its installation.
func (in *Intake) openReactorRouter(ctx context.Context) (*router, error) {
	sources := in.reactorSources()
	return in.openRouter(ctx, routerConfig{
		name: "intake-reactors", sources: sources, nakDelay: exponentialDelay(in.cfg.Backoff),
		handlers: func(stopping context.Context, r *message.Router, sub message.Subscriber, log watermill.LoggerAdapter) error {
			r.AddMiddleware(in.stopAndTrace(stopping), in.reactorPoisonQueue, middleware.Recoverer, rejectUnreadable)
			return in.addReactors(r, sub, sources, log)
		},
	})
}

// reactorSources are keyed by "<reactor>@<stream>".
func (in *Intake) reactorSources() map[string]source {
	partitions := in.cfg.Journal.Partitions()
	sources := map[string]source{}
	for i := range in.cfg.Reactors {
		r := &in.cfg.Reactors[i]
		for p := range partitions {
			stream := natsio.StreamName(p, partitions)
			sources[r.Name+"@"+stream] = source{stream, jetstream.ConsumerConfig{
				Durable: "reactor-" + r.Name, FilterSubjects: in.filters(r), DeliverPolicy: jetstream.DeliverNewPolicy,
				AckPolicy: jetstream.AckExplicitPolicy, AckWait: eventAckWait, MaxAckPending: -1, // waiting events must not hold back others
			}, eventPull}
		}
	}
	return sources
}

func (in *Intake) filters(r *reactors.Reactor) []string {
	var all []string
	for _, pattern := range r.Subjects {
		all = append(all, in.cfg.Subjects.Root("events.")+pattern)
	}
	return all
}

// addReactors adds one handlers group per consumer, with a handler for each
// event type of the reactor. Other types are acknowledged unread.
func (in *Intake) addReactors(r *message.Router, sub message.Subscriber, sources map[string]source, log watermill.LoggerAdapter) error {
	groups, err := cqrs.NewEventGroupProcessorWithConfig(r, cqrs.EventGroupProcessorConfig{
		GenerateSubscribeTopic: func(p cqrs.EventGroupProcessorGenerateSubscribeTopicParams) (string, error) {
			return p.EventGroupName, nil
		},
		SubscriberConstructor: func(cqrs.EventGroupProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return sub, nil
		},
		Marshaler: in.eventMarshaler(), Logger: log, AckOnUnknownEvent: true,
	})
	for topic := range sources {
		if err != nil {
			return err
		}
		reactor := in.reactor(reactorName(topic))
		var handlers []cqrs.GroupEventHandler
		for _, typ := range reactor.Types {
			handlers = append(handlers, &eventHandler{in: in, reactor: reactor, typ: typ})
		}
		err = groups.AddHandlersGroup(topic, handlers...)
	}
	return err
}

func reactorName(topic string) string {
	name, _, _ := strings.Cut(topic, "@")
	return name
}

// reactor returns nil for an unknown name.
func (in *Intake) reactor(name string) *reactors.Reactor {
	i := slices.IndexFunc(in.cfg.Reactors, func(r reactors.Reactor) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &in.cfg.Reactors[i]
}

// reactorPoisonQueue makes a dead letter of a poison message, and of an event that failed
// maxReactions times. An event whose command or timer must wait for a store is delivered again
// until it need not: those deliveries are no failures.
func (in *Intake) reactorPoisonQueue(next message.HandlerFunc) message.HandlerFunc {
	var mu sync.Mutex
	failures := map[string]int{} // by sequence
	fails := func(seq string, err error) bool {
		switch {
		case isPoison(err):
			return true
		case isTransient(err) || natsio.Unanswered(err) || errors.Is(err, context.Canceled):
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		failures[seq]++
		return failures[seq] >= maxReactions
	}
	return func(m *message.Message) ([]*message.Message, error) {
		source, seq := sourceReactors+reactorName(message.HandlerNameFromCtx(m.Context())), m.Metadata.Get(metaSequence)
		deadLetters := &deadLetterPublisher{in: in, source: source}
		queue, err := middleware.PoisonQueueWithFilter(deadLetters, in.streams.deadLetterRoot+source, func(err error) bool { return fails(seq, err) })
		if err != nil {
			return nil, err
		}
		out, err := queue(next)(m)
		if err == nil {
			mu.Lock()
			delete(failures, seq)
			mu.Unlock()
		}
		return out, err
	}
}

// exponentialDelay is the first delay before a redelivery; it doubles up to 64 times
// the first, so that an event is late by seconds after a store was away.
type exponentialDelay time.Duration

// WaitTime implements Watermill's Delay.
func (d exponentialDelay) WaitTime(delivered uint64) time.Duration {
	return time.Duration(d) << min(delivered-1, 6)
}
