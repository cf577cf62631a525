package topology

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// RateKey is the metadata key of a consumer's rate_limit: the number of messages
// per second that its clients may pull.
const RateKey = "tidemark.rate_limit"

func (p *Planner) consumerSteps(server *serverState, plan *Plan) {
	for i := range p.topology.Consumers {
		c := &p.topology.Consumers[i]
		s := Step{Kind: KindConsumer, Name: c.Name, stream: c.Stream, Mappings: p.consumerMappings(c)}
		live := server.consumers[c.Stream+" "+c.Name]
		cfg := p.consumer(c)
		switch {
		case c.Name == "":
			s.Name, s.Action = c.Key, Unchanged
		case server.offline[c.Stream]:
			s.Action, s.Reason = Refuse, isOffline
		case live != nil:
			s.updateConsumer(live, c.Stream, &cfg)
		case !plan.has(c.Stream) && server.streams[c.Stream] == nil:
			s.Action, s.Reason = Refuse, fmt.Sprintf("its stream %s does not exist and is not created", c.Stream)
		default:
			s.Action, s.apply = Create, func(a *api) error {
				return a.do(func(ctx context.Context) error {
					_, err := a.js.CreateConsumer(ctx, c.Stream, cfg)
					return err
				})
			}
		}
		plan.Steps = append(plan.Steps, s)
	}
}

// has reports whether a stream exists after the plan.
func (p *Plan) has(stream string) bool {
	for i := range p.Steps {
		if s := &p.Steps[i]; s.Kind == KindStream && s.Name == stream {
			return s.Action != Refuse
		}
	}
	return false
}

// consumer converts a consumer of the document to a durable pull consumer.
// Missing fields get the server's defaults.
func (p *Planner) consumer(c *Consumer) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Name: c.Name, Durable: c.Name, Description: c.Description,
		DeliverPolicy: deliverPolicies[c.DeliverPolicy], AckPolicy: ackPolicies[c.AckPolicy], ReplayPolicy: replayPolicies[c.ReplayPolicy],
		AckWait: time.Duration(c.AckWait), MaxDeliver: limit(c.MaxDeliver), MaxAckPending: c.MaxAckPending,
		OptStartTime: c.StartTime, MaxRequestBatch: c.MaxBatch, MaxRequestExpires: time.Duration(c.MaxExpires), MaxRequestMaxBytes: c.MaxBytes,
	}
	if c.StartSequence != nil {
		cfg.OptStartSeq = *c.StartSequence
	}
	if c.FilterSubject != "" {
		cfg.FilterSubject = p.prefixed(c.FilterSubject)
	}
	if c.RateLimit > 0 {
		cfg.Metadata = map[string]string{RateKey: strconv.Itoa(c.RateLimit)}
	}
	if cfg.AckPolicy == jetstream.AckNonePolicy {
		return cfg
	}
	if cfg.AckWait == 0 {
		cfg.AckWait = 30 * time.Second
	}
	if cfg.MaxAckPending == 0 {
		cfg.MaxAckPending = 1000
	}
	return cfg
}

func (p *Planner) consumerMappings(c *Consumer) (all []Mapping) {
	mapped := func(field, written, inForce, reason string) {
		all = append(all, Mapping{field, written, inForce, reason})
	}
	if c.Name == "" {
		mapped("name", "null", "created on demand", "ephemeral: each client creates an ordered consumer on "+c.Stream+
			" and the server deletes it afterwards; apply creates nothing")
		return all
	}
	if c.RateLimit > 0 {
		mapped("rate_limit", strconv.Itoa(c.RateLimit), "left to the client", "the server has no limit in messages per second "+
			"(rate_limit_bps is in bits, for push consumers); clients find it in the consumer's metadata as "+RateKey)
	}
	if c.StartSequence != nil && *c.StartSequence == 0 {
		mapped("start_sequence", "0", "ignored", "deliver_policy "+c.DeliverPolicy+" has its own start; the server refuses an additional sequence")
	}
	if c.nullTime {
		mapped("start_time", "null", "ignored", "it has no value")
	}
	if names, values := c.pullLimits(); len(names) > 0 {
		text := list(values)
		mapped(list(names), text, text, "limits of each pull request: the server refuses larger ones, also the defaults of client libraries")
	}
	if c.FilterSubject != "" && p.opts.Prefix != "" {
		mapped("filter_subject", c.FilterSubject, p.prefixed(c.FilterSubject), "subject_prefix goes before every subject")
	}
	return all
}

// pullLimits are the names and values of the limits of a pull request.
func (c *Consumer) pullLimits() (names, values []string) {
	for _, l := range []struct {
		name  string
		set   bool
		value string
	}{
		{"max_batch", c.MaxBatch > 0, strconv.Itoa(c.MaxBatch)}, {"max_expires", c.MaxExpires > 0, time.Duration(c.MaxExpires).String()},
		{"max_bytes", c.MaxBytes > 0, size(int64(c.MaxBytes))},
	} {
		if l.set {
			names, values = append(names, l.name), append(values, l.value)
		}
	}
	return names, values
}

func consumerField[V any](name string, at func(*consumerConfig) *V, text func(V) string) field[jetstream.ConsumerInfo, consumerConfig] {
	return setting[jetstream.ConsumerInfo](name, at, text, nil)
}

// fixedField is a field that the server never changes (checkNewConsumerConfig
// in its source).
func fixedField(name string, text func(*consumerConfig) string) field[jetstream.ConsumerInfo, consumerConfig] {
	return field[jetstream.ConsumerInfo, consumerConfig]{name: name, text: text,
		refuse: func(*jetstream.ConsumerInfo, *consumerConfig) string {
			return "the server fixes it when a consumer is created"
		}}
}

var consumerFields = []field[jetstream.ConsumerInfo, consumerConfig]{
	consumerField("description", func(c *consumerConfig) *string { return &c.Description }, strconv.Quote),
	fixedField("deliver_policy", func(c *consumerConfig) string { return c.DeliverPolicy.String() }),
	fixedField("start_sequence", func(c *consumerConfig) string { return fmt.Sprint(c.OptStartSeq) }),
	fixedField("start_time", startTimeText),
	fixedField("ack_policy", func(c *consumerConfig) string { return lower(c.AckPolicy) }),
	fixedField("replay_policy", func(c *consumerConfig) string { return c.ReplayPolicy.String() }),
	consumerField("ack_wait", func(c *consumerConfig) *time.Duration { return &c.AckWait }, time.Duration.String),
	consumerField("max_deliver", func(c *consumerConfig) *int { return &c.MaxDeliver }, count),
	consumerField("max_ack_pending", func(c *consumerConfig) *int { return &c.MaxAckPending }, count),
	{"filter_subject", "", func(c *consumerConfig) string { return c.FilterSubject + list(c.FilterSubjects) },
		func(to, from *consumerConfig) { to.FilterSubject, to.FilterSubjects = from.FilterSubject, nil }, nil},
	consumerField("max_batch", func(c *consumerConfig) *int { return &c.MaxRequestBatch }, count),
	consumerField("max_expires", func(c *consumerConfig) *time.Duration { return &c.MaxRequestExpires }, time.Duration.String),
	consumerField("max_bytes", func(c *consumerConfig) *int { return &c.MaxRequestMaxBytes }, sizeLimit),
	{"rate_limit", "", func(c *consumerConfig) string { return c.Metadata[RateKey] }, copyRate, nil},
}

// copyRate leaves other metadata as it is.
func copyRate(to, from *consumerConfig) {
	to.Metadata = maps.Clone(to.Metadata)
	delete(to.Metadata, RateKey)
	if rate, ok := from.Metadata[RateKey]; ok {
		if to.Metadata == nil {
			to.Metadata = map[string]string{}
		}
		to.Metadata[RateKey] = rate
	}
}

func (s *Step) updateConsumer(live *jetstream.ConsumerInfo, stream string, want *consumerConfig) {
	changes, next := diff(consumerFields, live, &live.Config, want, KindConsumer)
	s.decide(changes)
	s.apply = func(a *api) error {
		return a.do(func(ctx context.Context) error {
			_, err := a.js.UpdateConsumer(ctx, stream, next)
			return err
		})
	}
}
