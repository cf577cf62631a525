package topology

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// words are the values of a field; the empty word is the zero value.
type words[T any] map[string]T

var (
	storages     = words[jetstream.StorageType]{"file": jetstream.FileStorage, "memory": jetstream.MemoryStorage}
	compressions = words[jetstream.StoreCompression]{"none": jetstream.NoCompression, "s2": jetstream.S2Compression}
	discards     = words[jetstream.DiscardPolicy]{"old": jetstream.DiscardOld, "new": jetstream.DiscardNew}
	retentions   = words[jetstream.RetentionPolicy]{
		"limits": jetstream.LimitsPolicy, "interest": jetstream.InterestPolicy, "workqueue": jetstream.WorkQueuePolicy,
	}
	deliverPolicies = words[jetstream.DeliverPolicy]{
		"all": jetstream.DeliverAllPolicy, "last": jetstream.DeliverLastPolicy, "new": jetstream.DeliverNewPolicy,
		"last_per_subject": jetstream.DeliverLastPerSubjectPolicy, "by_start_sequence": jetstream.DeliverByStartSequencePolicy,
		"by_start_time": jetstream.DeliverByStartTimePolicy,
	}
	ackPolicies    = words[jetstream.AckPolicy]{"explicit": jetstream.AckExplicitPolicy, "all": jetstream.AckAllPolicy, "none": jetstream.AckNonePolicy}
	replayPolicies = words[jetstream.ReplayPolicy]{"instant": jetstream.ReplayInstantPolicy, "original": jetstream.ReplayOriginalPolicy}
)

func (w words[T]) check(field, value string) error {
	if _, ok := w[value]; ok || value == "" {
		return nil
	}
	return fmt.Errorf("%s: %q is not one of %s", field, value, strings.Join(slices.Sorted(maps.Keys(w)), ", "))
}

var (
	bucketName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	streamName = regexp.MustCompile(`^[^\s.*>/\\]+$`)
)

// engineStream matches the streams that the engine creates by itself, and
// engineBucket its buckets.
var (
	engineStream = regexp.MustCompile(`^(EVENTS(_\d+)?|COMMANDS|OUTCOMES|DEAD_LETTERS|TIMERS|KV_.*|TIDEMARK_.*)$`)
	engineBucket = regexp.MustCompile(`^TIDEMARK_`)
	// A consumer would take messages that the engine needs.
	engineQueue = regexp.MustCompile(`^(COMMANDS|TIMERS|KV_TIDEMARK_.*)$`)
)

// notOwn fails if a subject overlaps one of the engine. Both get the same prefix,
// so they are compared without it.
func notOwn(field, subject string) error {
	if own := (natsio.Subjects{}).OwnSubject(subject); own != "" {
		return fmt.Errorf("%s: %q overlaps %s, which belongs to the engine or the server", field, subject, own)
	}
	return nil
}

func (s *Stream) check() error {
	if engineStream.MatchString(s.Name) {
		return fmt.Errorf("name %q: the engine or a bucket uses streams of this name; choose another one", s.Name)
	}
	for _, subject := range s.Subjects {
		if err := notOwn("subjects", subject); err != nil {
			return err
		}
	}
	if !streamName.MatchString(s.Name) {
		return fmt.Errorf("name %q: a stream name cannot be empty or contain spaces, dots, wildcards or slashes", s.Name)
	}
	if len(s.Subjects) == 0 {
		return errors.New("subjects: a stream needs at least one")
	}
	return errors.Join(
		storages.check("storage", s.Storage), retentions.check("retention", s.Retention),
		discards.check("discard", s.Discard), compressions.check("compression", s.Compression),
		notNegative("max_msgs", s.MaxMsgs), notNegative("max_bytes", s.MaxBytes), notNegative("max_msg_size", int64(s.MaxMsgSize)),
		replicasIn(s.Replicas), s.Republish.check())
}

func (b *Bucket) check() error {
	if !bucketName.MatchString(b.Bucket) {
		return fmt.Errorf("bucket %q: a bucket name consists of letters, digits, _ and -", b.Bucket)
	}
	if engineBucket.MatchString(b.Bucket) {
		return fmt.Errorf("bucket %q: names that start with TIDEMARK_ belong to the engine", b.Bucket)
	}
	if b.History < 0 || b.History > 64 {
		return fmt.Errorf("history: %d is not between 1 and 64", b.History)
	}
	return errors.Join(
		storages.check("storage", b.Storage), compressions.check("compression", b.Compression),
		notNegative("max_bytes", b.MaxBytes), notNegative("max_value_size", int64(b.MaxValueSize)),
		replicasIn(b.Replicas), b.Republish.check())
}

func (c *Consumer) check() error {
	if !streamName.MatchString(c.Stream) || c.Name != "" && !streamName.MatchString(c.Name) {
		return fmt.Errorf("stream %q, name %q: names cannot contain spaces, dots, wildcards or slashes", c.Stream, c.Name)
	}
	if engineQueue.MatchString(c.Stream) {
		return fmt.Errorf("stream %q: the engine alone reads this stream", c.Stream)
	}
	if (c.StartSequence != nil && *c.StartSequence > 0) != (c.DeliverPolicy == "by_start_sequence") {
		return fmt.Errorf("start_sequence (1 or more) and deliver_policy by_start_sequence need each other; deliver_policy is %q", c.DeliverPolicy)
	}
	if (c.StartTime != nil) != (c.DeliverPolicy == "by_start_time") {
		return fmt.Errorf("start_time and deliver_policy by_start_time need each other; deliver_policy is %q", c.DeliverPolicy)
	}
	return errors.Join(
		deliverPolicies.check("deliver_policy", c.DeliverPolicy), ackPolicies.check("ack_policy", c.AckPolicy),
		replayPolicies.check("replay_policy", c.ReplayPolicy),
		notNegative("max_deliver", int64(c.MaxDeliver)), notNegative("rate_limit", int64(c.RateLimit)),
		notNegative("max_ack_pending", int64(c.MaxAckPending)), notNegative("max_batch", int64(c.MaxBatch)),
		notNegative("max_bytes", int64(c.MaxBytes)))
}

func (r *Republish) check() error {
	if r != nil && r.Dest == "" {
		return errors.New("republish: dest is missing")
	}
	if r == nil {
		return nil
	}
	return notOwn("republish: dest", mapping.ReplaceAllString(r.Dest, "*"))
}

// mapping is a token of a destination that the server replaces, {{wildcard(1)}}.
var mapping = regexp.MustCompile(`\{\{[^{}]*\}\}`)

func notNegative(field string, v int64) error {
	if v < 0 {
		return fmt.Errorf("%s: %d is negative; 0 means no limit", field, v)
	}
	return nil
}

func replicasIn(n int) error {
	if n < 0 || n > 5 {
		return fmt.Errorf("replicas: %d is not between 1 and 5", n)
	}
	return nil
}
