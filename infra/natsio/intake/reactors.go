package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

const (
	sourceReactors = "reactor." // and the name, of dead letters

	// Of the command that has a reactor take an event again.
	aggregateReactor = "reactor"
	verbReact        = "react"

	// maxReactions is how often a reactor is given one event.
	maxReactions = 10
	reactTime    = 15 * time.Second // for one reaction
	reactAckWait = 10 * time.Second // after which an event leaves an engine that has died
	// reactPull events are with an engine at once. The one that is reacted to is
	// kept alive; those behind it may come twice when that takes long.
	reactPull = 2
	// reactPending is how many events may wait, to be given to their reactor
	// again, before it is shown no others.
	reactPending = 1000
)

// reactorFlow reads the journal with one durable consumer for each reactor and
// partition, which all engines share. A new reactor begins with what happens
// from its installation on: it does not act upon history.
func (in *Intake) reactorFlow(ctx context.Context) (*flow, error) {
	partitions := in.cfg.Journal.Partitions()
	sources := map[string]source{}
	for i := range in.cfg.Reactors {
		r := &in.cfg.Reactors[i]
		for p := range partitions {
			stream := natsio.StreamName(p, partitions)
			sources[r.Name+"@"+stream] = source{stream, jetstream.ConsumerConfig{
				Durable: "reactor-" + r.Name, FilterSubjects: in.filters(r), DeliverPolicy: jetstream.DeliverNewPolicy,
				AckPolicy: jetstream.AckExplicitPolicy, AckWait: reactAckWait, MaxAckPending: reactPending,
			}, reactPull}
		}
	}
	return in.open(ctx, flowConfig{
		name: "intake-reactors", sources: sources, nakDelay: doubling(in.cfg.Backoff),
		handlers: func(stopping context.Context, router *message.Router, sub message.Subscriber, log watermill.LoggerAdapter) error {
			router.AddMiddleware(in.enter(stopping), in.setAside, middleware.Recoverer, readable)
			return in.addReactors(router, sub, sources, log)
		},
	})
}

func (in *Intake) filters(r *reactors.Reactor) []string {
	var all []string
	for _, pattern := range r.Subjects {
		all = append(all, in.cfg.Subjects.Root("events.")+pattern)
	}
	return all
}

// addReactors makes one handlers group of each consumer: a handler for every
// type of event that the reactor takes; others are acknowledged unseen.
func (in *Intake) addReactors(router *message.Router, sub message.Subscriber, sources map[string]source, log watermill.LoggerAdapter) error {
	groups, err := cqrs.NewEventGroupProcessorWithConfig(router, cqrs.EventGroupProcessorConfig{
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
		name, _, _ := strings.Cut(topic, "@")
		r := in.reactor(name)
		var handlers []cqrs.GroupEventHandler
		for _, typ := range r.Types {
			handlers = append(handlers, &reaction{in: in, reactor: r, typ: typ})
		}
		err = groups.AddHandlersGroup(topic, handlers...)
	}
	return err
}

func (in *Intake) reactor(name string) *reactors.Reactor {
	i := slices.IndexFunc(in.cfg.Reactors, func(r reactors.Reactor) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &in.cfg.Reactors[i]
}

// setAside makes a dead letter of an event that its reactor has failed at too
// often, and of one that cannot be read.
func (in *Intake) setAside(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		name, _, _ := strings.Cut(message.HandlerNameFromCtx(m.Context()), "@")
		letters := &letterBox{in: in, source: sourceReactors + name}
		queue, err := middleware.PoisonQueueWithFilter(letters, in.streams.letterRoot+sourceReactors+name, func(err error) bool {
			return isPoison(err) || !errors.Is(err, context.Canceled) && number(m.Metadata, metaDelivered) >= maxReactions
		})
		if err != nil {
			return nil, err
		}
		return queue(next)(m)
	}
}

// doubling is the pause before an event is given to its reactor again.
type doubling time.Duration

// WaitTime implements Watermill's Delay.
func (d doubling) WaitTime(delivered uint64) time.Duration {
	return time.Duration(d) << min(delivered-1, 8)
}

// reaction is one type of event that a reactor takes.
type reaction struct {
	in      *Intake
	reactor *reactors.Reactor
	typ     string
}

// typed is an event to be read: its type is known before the rest.
type typed struct {
	typ string
	rec events.Record
}

// HandlerName, NewEvent and Handle implement cqrs.GroupEventHandler.
func (r *reaction) HandlerName() string { return r.reactor.Name + "/" + r.typ }
func (r *reaction) NewEvent() any       { return &typed{typ: r.typ} }
func (r *reaction) Handle(ctx context.Context, event any) error {
	return r.in.react(ctx, r.reactor, event.(*typed).rec)
}

func (in *Intake) react(ctx context.Context, r *reactors.Reactor, rec events.Record) error {
	ctx, cancel := context.WithTimeout(ctx, reactTime)
	defer cancel()
	return r.React(ctx, rec, func(ctx context.Context, req commands.Request) (commands.Receipt, error) {
		if err := ctx.Err(); err != nil {
			return commands.Receipt{}, domain.Errorf(domain.Unavailable, "engine.stopping", "not sent: %v", err)
		}
		return in.send(context.WithoutCancel(ctx), req)
	})
}

// reactBody is the body of enqueue.reactor.<name>.react, with which a dead
// letter of a reactor is retried.
type reactBody struct {
	Stream   string `json:"stream"`
	Revision uint64 `json:"revision"`
}

// reactAgain gives a reactor one event of the journal once more.
func (in *Intake) reactAgain(ctx context.Context, cmd *enqueued) (body []byte, outcome string, err error) {
	var ask reactBody
	r := in.reactor(cmd.ID)
	if r == nil || cmd.Verb != verbReact {
		return nil, "", &poison{fmt.Sprintf("%.256q: there is no such reactor here", cmd.subject)}
	}
	if err := domain.DecodeBody(cmd.Body, &ask); err != nil {
		return nil, "", err
	}
	for p := range in.cfg.Journal.Partitions() {
		if natsio.StreamName(p, in.cfg.Journal.Partitions()) != ask.Stream {
			continue
		}
		rec, err := in.cfg.Journal.At(ctx, p, ask.Revision)
		if err == nil {
			err = in.react(ctx, r, rec)
		}
		if err != nil {
			return nil, "", fmt.Errorf("%w: reactor %s on revision %d of %s", err, r.Name, ask.Revision, ask.Stream)
		}
		body, err = json.Marshal(map[string]any{"command_id": cmd.CommandID, "outcome": "accepted", "aggregate": aggregateReactor, "id": r.Name})
		return body, "accepted", err
	}
	return nil, "", &poison{fmt.Sprintf("there is no journal stream %.64q", ask.Stream)}
}

// eventMarshaler reads an event of the journal.
type eventMarshaler struct {
	root       string
	partitions map[string]int // by stream
}

func (in *Intake) eventMarshaler() eventMarshaler {
	m := eventMarshaler{in.cfg.Subjects.Root("events."), map[string]int{}}
	n := in.cfg.Journal.Partitions()
	for p := range n {
		m.partitions[natsio.StreamName(p, n)] = p
	}
	return m
}

// Name implements Watermill's interface.
func (eventMarshaler) Name(v any) string { return v.(*typed).typ }

// NameFromMessage implements Watermill's interface. A message that is no event
// has no type, and no reactor takes it.
func (eventMarshaler) NameFromMessage(m *message.Message) string {
	var head struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(m.Payload, &head)
	return head.Type
}

// Marshal implements Watermill's interface. Events come from the journal alone.
func (eventMarshaler) Marshal(any) (*message.Message, error) {
	return nil, errors.New("the intake publishes no events")
}

// Unmarshal fails with poison where the event is of a newer schema.
func (e eventMarshaler) Unmarshal(m *message.Message, v any) error {
	ev, err := events.Decode(m.Payload)
	if err != nil {
		return &poison{err.Error()}
	}
	v.(*typed).rec = events.Record{
		Event: ev, Stream: events.Stream(strings.TrimPrefix(m.Metadata.Get(metaSubject), e.root)),
		Partition: e.partitions[m.Metadata.Get(metaStream)], Revision: number(m.Metadata, metaSequence),
	}
	return nil
}
