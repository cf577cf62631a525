package topology

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// field is one setting of a stream that a topology writes. Two streams agree
// where the texts are equal.
type field struct {
	name   string
	bucket string // what a bucket calls it; "" = the same
	text   func(*jetstream.StreamConfig) string
	take   func(to, from *jetstream.StreamConfig)
	// why tells why the server, or we, would not change it; nil = it may be.
	why func(live *jetstream.StreamInfo, want *jetstream.StreamConfig) string
}

type (
	streamConfig = jetstream.StreamConfig
	streamInfo   = jetstream.StreamInfo
)

var fields = []field{
	{"description", "", func(c *streamConfig) string { return fmt.Sprintf("%q", c.Description) },
		func(to, from *streamConfig) { to.Description = from.Description }, nil},
	{"subjects", "", func(c *streamConfig) string { return strings.Join(c.Subjects, ", ") },
		func(to, from *streamConfig) { to.Subjects = from.Subjects }, nil},
	{"storage", "", func(c *streamConfig) string { return strings.ToLower(c.Storage.String()) }, nil,
		func(*streamInfo, *streamConfig) string { return "a stream's storage is fixed when it is made" }},
	{"retention", "", func(c *streamConfig) string { return strings.ToLower(c.Retention.String()) },
		func(to, from *streamConfig) { to.Retention = from.Retention }, whyRetention},
	{"max_age", "ttl", func(c *streamConfig) string { return age(c.MaxAge) },
		func(to, from *streamConfig) {
			to.MaxAge = from.MaxAge
			to.Duplicates = shorter(to.Duplicates, from.MaxAge)
		}, whyAge},
	{"max_msgs", "", func(c *streamConfig) string { return count(c.MaxMsgs) },
		func(to, from *streamConfig) { to.MaxMsgs = from.MaxMsgs }, whyMsgs},
	{"max_bytes", "", func(c *streamConfig) string { return size(limit(c.MaxBytes)) },
		func(to, from *streamConfig) { to.MaxBytes = from.MaxBytes }, whyBytes},
	{"max_msg_size", "max_value_size", func(c *streamConfig) string { return size(limit(int64(c.MaxMsgSize))) },
		func(to, from *streamConfig) { to.MaxMsgSize = from.MaxMsgSize }, nil},
	{"max_msgs_per_subject", "history", func(c *streamConfig) string { return count(c.MaxMsgsPerSubject) },
		func(to, from *streamConfig) { to.MaxMsgsPerSubject = from.MaxMsgsPerSubject }, whyHistory},
	{"replicas", "", func(c *streamConfig) string { return fmt.Sprint(c.Replicas) },
		func(to, from *streamConfig) { to.Replicas = from.Replicas }, nil},
	{"placement", "", func(c *streamConfig) string { return placementText(c.Placement) },
		func(to, from *streamConfig) { to.Placement = from.Placement }, nil},
	{"discard", "", func(c *streamConfig) string {
		return strings.ToLower(strings.TrimPrefix(c.Discard.String(), "Discard"))
	},
		func(to, from *streamConfig) { to.Discard = from.Discard }, nil},
	{"duplicate_window", "", func(c *streamConfig) string { return c.Duplicates.String() },
		func(to, from *streamConfig) { to.Duplicates = from.Duplicates }, nil},
	{"allow_rollup_hdrs", "", func(c *streamConfig) string { return fmt.Sprint(c.AllowRollup) },
		func(to, from *streamConfig) { to.AllowRollup = from.AllowRollup }, nil},
	{"deny_delete", "", func(c *streamConfig) string { return fmt.Sprint(c.DenyDelete) },
		func(to, from *streamConfig) { to.DenyDelete = from.DenyDelete },
		func(l *streamInfo, w *streamConfig) string { return fixed(l.Config.DenyDelete, w.DenyDelete) }},
	{"deny_purge", "", func(c *streamConfig) string { return fmt.Sprint(c.DenyPurge) },
		func(to, from *streamConfig) { to.DenyPurge = from.DenyPurge },
		func(l *streamInfo, w *streamConfig) string { return fixed(l.Config.DenyPurge, w.DenyPurge) }},
	{"compression", "", func(c *streamConfig) string { return c.Compression.String() },
		func(to, from *streamConfig) { to.Compression = from.Compression }, nil},
	{"republish", "", func(c *streamConfig) string { return republishText(c.RePublish) },
		func(to, from *streamConfig) { to.RePublish = from.RePublish }, nil},
}

// compare tells what an update would change and what it may not. next is the
// live stream with those changes; what a topology cannot write stays.
func compare(live *jetstream.StreamInfo, w *wanted) (diff []Change, next jetstream.StreamConfig) {
	next = live.Config
	for _, f := range fields {
		from, to := f.text(&live.Config), f.text(&w.cfg)
		if from == to {
			continue
		}
		c := Change{Field: f.name, From: from, To: to}
		if w.kind == KindBucket && f.bucket != "" {
			c.Field = f.bucket
		}
		if f.why != nil {
			c.Refused = f.why(live, &w.cfg)
		}
		if c.Refused == "" {
			f.take(&next, &w.cfg)
		}
		diff = append(diff, c)
	}
	return diff, next
}

// lost is why a limit below what a stream holds is not set.
const lost = "messages that the stream holds would be lost; remove them or raise the limit"

func whyRetention(live *streamInfo, want *streamConfig) string {
	if live.Config.Retention == jetstream.WorkQueuePolicy || want.Retention == jetstream.WorkQueuePolicy {
		return "the server does not change to or from a work queue"
	}
	if want.Retention == jetstream.InterestPolicy && live.State.Msgs > 0 {
		return lost
	}
	return ""
}

func whyAge(live *streamInfo, want *streamConfig) string {
	was, is := live.Config.MaxAge, want.MaxAge
	if is > 0 && (was == 0 || is < was) && live.State.Msgs > 0 && time.Since(live.State.FirstTime) > is {
		return lost
	}
	return ""
}

func whyMsgs(live *streamInfo, want *streamConfig) string {
	if want.MaxMsgs > 0 && live.State.Msgs > uint64(want.MaxMsgs) {
		return lost
	}
	return ""
}

func whyBytes(live *streamInfo, want *streamConfig) string {
	if want.MaxBytes > 0 && live.State.Bytes > uint64(want.MaxBytes) {
		return lost
	}
	return ""
}

// whyHistory cannot tell which subjects are deep, only that none is.
func whyHistory(live *streamInfo, want *streamConfig) string {
	was, is := live.Config.MaxMsgsPerSubject, want.MaxMsgsPerSubject
	if is > 0 && (was <= 0 || is < was) && live.State.Msgs > max(live.State.NumSubjects, uint64(is)) {
		return lost
	}
	return ""
}

func fixed(live, want bool) string {
	if live && !want {
		return "the server does not take this back"
	}
	return ""
}

// shorter keeps the duplicate window within the age, as the server wants it.
func shorter(window, age time.Duration) time.Duration {
	if age > 0 {
		return min(window, age)
	}
	return window
}

func age(d time.Duration) string {
	if d == 0 {
		return "never"
	}
	return d.String()
}

func count(n int64) string {
	if n <= 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

func republishText(r *jetstream.RePublish) string {
	if r == nil {
		return "none"
	}
	return r.Source + " to " + r.Destination
}
