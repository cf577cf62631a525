package topology

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// RateKey is the metadata of a consumer that tells its pullers how many
// messages a second they may take (the seed's rate_limit).
const RateKey = "tidemark.rate_limit"

func (p *Planner) consumerSteps(f *facts, plan *Plan) {
	for i := range p.want.Consumers {
		c := &p.want.Consumers[i]
		s := Step{Kind: KindConsumer, Name: c.Name, Mappings: p.consumerMappings(c)}
		live := f.consumers[c.Stream+" "+c.Name]
		cfg := p.consumer(c)
		switch {
		case c.Name == "":
			s.Name, s.Action = c.Key, Unchanged
		case live != nil:
			s.changeConsumer(live, c.Stream, &cfg)
		case !plan.has(c.Stream) && f.streams[c.Stream] == nil:
			s.Action, s.Reason = Refuse, fmt.Sprintf("its stream %s does not exist and is not made", c.Stream)
		default:
			s.Action, s.apply = Create, func(a *asking) error {
				return a.do(func(ctx context.Context) error {
					_, err := a.js.CreateConsumer(ctx, c.Stream, cfg)
					return err
				})
			}
		}
		plan.Steps = append(plan.Steps, s)
	}
}

// has tells whether the plan makes a stream, or finds it.
func (p *Plan) has(stream string) bool {
	for i := range p.Steps {
		if s := &p.Steps[i]; s.Kind == KindStream && s.Name == stream {
			return s.Action != Refuse
		}
	}
	return false
}

// consumer is the server's form of the seed's: a durable pull consumer. What is
// not written is what the server would fill in.
func (p *Planner) consumer(c *Consumer) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Name: c.Name, Durable: c.Name, Description: c.Description,
		DeliverPolicy: delivers[c.DeliverPolicy], AckPolicy: acks[c.AckPolicy], ReplayPolicy: replays[c.ReplayPolicy],
		AckWait: time.Duration(c.AckWait), MaxDeliver: int(limit(int64(c.MaxDeliver))), MaxAckPending: c.MaxAckPending,
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

// An absent word is its default.
var (
	delivers = map[string]jetstream.DeliverPolicy{
		"last": jetstream.DeliverLastPolicy, "new": jetstream.DeliverNewPolicy, "last_per_subject": jetstream.DeliverLastPerSubjectPolicy,
		"by_start_sequence": jetstream.DeliverByStartSequencePolicy, "by_start_time": jetstream.DeliverByStartTimePolicy,
	}
	acks    = map[string]jetstream.AckPolicy{"all": jetstream.AckAllPolicy, "none": jetstream.AckNonePolicy}
	replays = map[string]jetstream.ReplayPolicy{"original": jetstream.ReplayOriginalPolicy}
)

func (p *Planner) consumerMappings(c *Consumer) (all []Mapping) {
	mapped := func(field, written, inForce, reason string) {
		all = append(all, Mapping{field, written, inForce, reason})
	}
	if c.Name == "" {
		mapped("name", "null", "made on demand", "ephemeral: whoever watches makes an ordered consumer on "+c.Stream+
			" and the server removes it afterwards; there is nothing to create")
		return all
	}
	if c.RateLimit > 0 {
		mapped("rate_limit", strconv.Itoa(c.RateLimit), "kept by who pulls", "the server has no limit in messages a second "+
			"(rate_limit_bps counts bits, of push consumers); it is in the consumer's metadata as "+RateKey)
	}
	if c.StartSequence != nil && *c.StartSequence == 0 {
		mapped("start_sequence", "0", "left out", "deliver_policy "+c.DeliverPolicy+" starts there by itself; the server refuses a sequence beside it")
	}
	if c.nullTime {
		mapped("start_time", "null", "left out", "nothing is written")
	}
	if names, values := c.pullLimits(); len(names) > 0 {
		text := strings.Join(values, ", ")
		mapped(strings.Join(names, ", "), text, text, "limits of each pull: the server refuses larger pulls, the default ones of client libraries too: ask within them")
	}
	if c.FilterSubject != "" && p.opts.Prefix != "" {
		mapped("filter_subject", c.FilterSubject, p.prefixed(c.FilterSubject), "subject_prefix goes before every subject")
	}
	return all
}

// pullLimits are the names and values of what bounds a pull.
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

type consumerConfig = jetstream.ConsumerConfig

// consumerFields are the settings a topology writes; fixed ones the server
// never changes (checkNewConsumerConfig in its source).
var consumerFields = []struct {
	name  string
	text  func(*consumerConfig) string
	take  func(to, from *consumerConfig)
	fixed bool
}{
	{"description", func(c *consumerConfig) string { return strconv.Quote(c.Description) },
		func(to, from *consumerConfig) { to.Description = from.Description }, false},
	{"deliver_policy", func(c *consumerConfig) string { return c.DeliverPolicy.String() }, nil, true},
	{"start_sequence", func(c *consumerConfig) string { return fmt.Sprint(c.OptStartSeq) }, nil, true},
	{"start_time", startText, nil, true},
	{"ack_policy", func(c *consumerConfig) string { return strings.ToLower(c.AckPolicy.String()) }, nil, true},
	{"replay_policy", func(c *consumerConfig) string { return c.ReplayPolicy.String() }, nil, true},
	{"ack_wait", func(c *consumerConfig) string { return c.AckWait.String() },
		func(to, from *consumerConfig) { to.AckWait = from.AckWait }, false},
	{"max_deliver", func(c *consumerConfig) string { return count(int64(c.MaxDeliver)) },
		func(to, from *consumerConfig) { to.MaxDeliver = from.MaxDeliver }, false},
	{"max_ack_pending", func(c *consumerConfig) string { return count(int64(c.MaxAckPending)) },
		func(to, from *consumerConfig) { to.MaxAckPending = from.MaxAckPending }, false},
	{"filter_subject", func(c *consumerConfig) string { return c.FilterSubject + strings.Join(c.FilterSubjects, ", ") },
		func(to, from *consumerConfig) { to.FilterSubject, to.FilterSubjects = from.FilterSubject, nil }, false},
	{"max_batch", func(c *consumerConfig) string { return count(int64(c.MaxRequestBatch)) },
		func(to, from *consumerConfig) { to.MaxRequestBatch = from.MaxRequestBatch }, false},
	{"max_expires", func(c *consumerConfig) string { return c.MaxRequestExpires.String() },
		func(to, from *consumerConfig) { to.MaxRequestExpires = from.MaxRequestExpires }, false},
	{"max_bytes", func(c *consumerConfig) string { return size(limit(int64(c.MaxRequestMaxBytes))) },
		func(to, from *consumerConfig) { to.MaxRequestMaxBytes = from.MaxRequestMaxBytes }, false},
	{"rate_limit", func(c *consumerConfig) string { return c.Metadata[RateKey] }, takeRate, false},
}

func startText(c *consumerConfig) string {
	if c.OptStartTime == nil {
		return "none"
	}
	return c.OptStartTime.UTC().Format(time.RFC3339Nano)
}

func takeRate(to, from *consumerConfig) {
	to.Metadata = maps.Clone(to.Metadata)
	delete(to.Metadata, RateKey)
	if rate, ok := from.Metadata[RateKey]; ok {
		if to.Metadata == nil {
			to.Metadata = map[string]string{}
		}
		to.Metadata[RateKey] = rate
	}
}

func (s *Step) changeConsumer(live *jetstream.ConsumerInfo, stream string, want *consumerConfig) {
	next := live.Config
	var diff []Change
	for _, f := range consumerFields {
		from, to := f.text(&live.Config), f.text(want)
		if from == to {
			continue
		}
		c := Change{Field: f.name, From: from, To: to}
		if f.fixed {
			c.Refused = "the server fixes it when a consumer is made"
		} else {
			f.take(&next, want)
		}
		diff = append(diff, c)
	}
	s.settle(diff)
	s.apply = func(a *asking) error {
		return a.do(func(ctx context.Context) error {
			_, err := a.js.UpdateConsumer(ctx, stream, next)
			return err
		})
	}
}
