package topology

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

type (
	streamConfig   = jetstream.StreamConfig
	streamInfo     = jetstream.StreamInfo
	consumerConfig = jetstream.ConsumerConfig
)

// field is one setting of a configuration C that a topology defines. Two
// configurations agree if the texts are equal. L is what is known of the live
// stream or consumer.
type field[L, C any] struct {
	name   string
	bucket string // a bucket's name for it; "" = the same
	text   func(*C) string
	copy   func(to, from *C)
	refuse func(live *L, want *C) string // why it cannot be changed; "" = it can
}

// diff lists the fields in which want differs from the live configuration.
// next is the live configuration with the permitted changes.
func diff[L, C any](fields []field[L, C], live *L, current, want *C, kind Kind) (changes []Change, next C) {
	next = *current
	for _, f := range fields {
		from, to := f.text(current), f.text(want)
		if from == to {
			continue
		}
		c := Change{Field: f.name, From: from, To: to}
		if kind == KindBucket && f.bucket != "" {
			c.Field = f.bucket
		}
		if f.refuse != nil {
			c.Refused = f.refuse(live, want)
		}
		if c.Refused == "" {
			f.copy(&next, want)
		}
		changes = append(changes, c)
	}
	return changes, next
}

// setting is a field that is one value of the configuration.
func setting[L, C, V any](name string, at func(*C) *V, text func(V) string, refuse func(*L, *C) string) field[L, C] {
	return field[L, C]{
		name: name, refuse: refuse,
		text: func(c *C) string { return text(*at(c)) },
		copy: func(to, from *C) { *at(to) = *at(from) },
	}
}

func streamField[V any](name, bucket string, at func(*streamConfig) *V, text func(V) string, refuse func(*streamInfo, *streamConfig) string) field[streamInfo, streamConfig] {
	f := setting(name, at, text, refuse)
	f.bucket = bucket
	return f
}

var streamFields = []field[streamInfo, streamConfig]{
	streamField("description", "", func(c *streamConfig) *string { return &c.Description }, strconv.Quote, nil),
	streamField("subjects", "", func(c *streamConfig) *[]string { return &c.Subjects }, list, nil),
	streamField("storage", "", func(c *streamConfig) *jetstream.StorageType { return &c.Storage }, lower, refuseStorage),
	streamField("retention", "", func(c *streamConfig) *jetstream.RetentionPolicy { return &c.Retention }, lower, refuseRetention),
	{"max_age", "ttl", func(c *streamConfig) string { return age(c.MaxAge) }, copyMaxAge, refuseMaxAge},
	streamField("max_msgs", "", func(c *streamConfig) *int64 { return &c.MaxMsgs }, count, refuseMaxMsgs),
	streamField("max_bytes", "", func(c *streamConfig) *int64 { return &c.MaxBytes }, sizeLimit, refuseMaxBytes),
	streamField("max_msg_size", "max_value_size", func(c *streamConfig) *int32 { return &c.MaxMsgSize }, sizeLimit, nil),
	streamField("max_msgs_per_subject", "history", func(c *streamConfig) *int64 { return &c.MaxMsgsPerSubject }, count, refuseHistory),
	streamField("replicas", "", func(c *streamConfig) *int { return &c.Replicas }, strconv.Itoa, nil),
	streamField("placement", "", func(c *streamConfig) **jetstream.Placement { return &c.Placement }, placementText, nil),
	streamField("discard", "", func(c *streamConfig) *jetstream.DiscardPolicy { return &c.Discard }, discardText, nil),
	streamField("duplicate_window", "", func(c *streamConfig) *time.Duration { return &c.Duplicates }, time.Duration.String, nil),
	streamField("allow_rollup_hdrs", "", func(c *streamConfig) *bool { return &c.AllowRollup }, strconv.FormatBool, nil),
	streamField("deny_delete", "", func(c *streamConfig) *bool { return &c.DenyDelete }, strconv.FormatBool,
		func(l *streamInfo, w *streamConfig) string { return refuseLifting(l.Config.DenyDelete, w.DenyDelete) }),
	streamField("deny_purge", "", func(c *streamConfig) *bool { return &c.DenyPurge }, strconv.FormatBool,
		func(l *streamInfo, w *streamConfig) string { return refuseLifting(l.Config.DenyPurge, w.DenyPurge) }),
	streamField("compression", "", func(c *streamConfig) *jetstream.StoreCompression { return &c.Compression }, jetstream.StoreCompression.String, nil),
	streamField("republish", "", func(c *streamConfig) **jetstream.RePublish { return &c.RePublish }, republishText, nil),
}

// copyMaxAge keeps the duplicate window within the age, as the server requires.
func copyMaxAge(to, from *streamConfig) {
	to.MaxAge = from.MaxAge
	if from.MaxAge > 0 {
		to.Duplicates = min(to.Duplicates, from.MaxAge)
	}
}

// losesMessages is the reason to refuse a limit below what a stream holds.
const losesMessages = "messages that the stream holds would be lost; remove them or raise the limit"

func refuseStorage(*streamInfo, *streamConfig) string {
	return "the server fixes a stream's storage when it is created"
}

func refuseRetention(live *streamInfo, want *streamConfig) string {
	if live.Config.Retention == jetstream.WorkQueuePolicy || want.Retention == jetstream.WorkQueuePolicy {
		return "the server does not change a stream to or from a work queue"
	}
	if want.Retention == jetstream.InterestPolicy && live.State.Msgs > 0 {
		return losesMessages
	}
	return ""
}

func refuseMaxAge(live *streamInfo, want *streamConfig) string {
	from, to := live.Config.MaxAge, want.MaxAge
	if to > 0 && (from == 0 || to < from) && live.State.Msgs > 0 && time.Since(live.State.FirstTime) > to {
		return losesMessages
	}
	return ""
}

func refuseMaxMsgs(live *streamInfo, want *streamConfig) string {
	if want.MaxMsgs > 0 && live.State.Msgs > uint64(want.MaxMsgs) {
		return losesMessages
	}
	return ""
}

func refuseMaxBytes(live *streamInfo, want *streamConfig) string {
	if want.MaxBytes > 0 && live.State.Bytes > uint64(want.MaxBytes) {
		return losesMessages
	}
	return ""
}

// refuseHistory does not know each subject's depth: it refuses unless no
// subject can be too deep.
func refuseHistory(live *streamInfo, want *streamConfig) string {
	from, to := live.Config.MaxMsgsPerSubject, want.MaxMsgsPerSubject
	if to > 0 && (from <= 0 || to < from) && live.State.Msgs > max(live.State.NumSubjects, uint64(to)) {
		return losesMessages
	}
	return ""
}

func refuseLifting(live, want bool) string {
	if live && !want {
		return "the server does not lift this restriction"
	}
	return ""
}
