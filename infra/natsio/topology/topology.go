// Package topology creates and updates the JetStream streams, buckets and
// consumers that a topology document describes. It parses the YAML, compares it
// with a live server, plans and applies the difference, and reports drift. The
// journal and the intake's streams are not part of a topology.
package topology

import (
	"fmt"
	"math"
	"time"
)

// Topology is a topology document, in its order.
type Topology struct {
	Streams   []Stream
	Buckets   []Bucket
	Consumers []Consumer
}

// Stream is a stream as the document describes it. A limit of 0 is no limit.
type Stream struct {
	Name            string     `yaml:"name"`
	Description     string     `yaml:"description"`
	Subjects        []string   `yaml:"subjects"`
	Storage         string     `yaml:"storage"`
	Retention       string     `yaml:"retention"`
	MaxAge          Duration   `yaml:"max_age"`
	MaxMsgs         int64      `yaml:"max_msgs"`
	MaxBytes        int64      `yaml:"max_bytes"`
	MaxMsgSize      int32      `yaml:"max_msg_size"`
	Replicas        int        `yaml:"replicas"`
	Placement       *Placement `yaml:"placement"`
	Discard         string     `yaml:"discard"`
	DuplicateWindow Duration   `yaml:"duplicate_window"`
	AllowRollup     bool       `yaml:"allow_rollup_hdrs"`
	DenyDelete      bool       `yaml:"deny_delete"`
	DenyPurge       bool       `yaml:"deny_purge"`
	Compression     string     `yaml:"compression"`
	Republish       *Republish `yaml:"republish"`
}

// Bucket is a KV bucket as the document describes it. A limit of 0 is no limit.
type Bucket struct {
	Bucket       string     `yaml:"bucket"`
	Description  string     `yaml:"description"`
	TTL          Duration   `yaml:"ttl"`
	Storage      string     `yaml:"storage"`
	Replicas     int        `yaml:"replicas"`
	History      int64      `yaml:"history"`
	MaxValueSize int32      `yaml:"max_value_size"`
	MaxBytes     int64      `yaml:"max_bytes"`
	Placement    *Placement `yaml:"placement"`
	Compression  string     `yaml:"compression"`
	Republish    *Republish `yaml:"republish"`
}

// Consumer is a consumer as the document describes it.
type Consumer struct {
	Key           string     `yaml:"-"` // its key in the document
	Stream        string     `yaml:"stream"`
	Name          string     `yaml:"name"` // "" = ephemeral
	Description   string     `yaml:"description"`
	DeliverPolicy string     `yaml:"deliver_policy"`
	AckPolicy     string     `yaml:"ack_policy"`
	AckWait       Duration   `yaml:"ack_wait"`
	MaxDeliver    int        `yaml:"max_deliver"`
	RateLimit     int        `yaml:"rate_limit"` // messages per second
	MaxAckPending int        `yaml:"max_ack_pending"`
	FilterSubject string     `yaml:"filter_subject"`
	ReplayPolicy  string     `yaml:"replay_policy"`
	StartSequence *uint64    `yaml:"start_sequence"`
	StartTime     *time.Time `yaml:"start_time"`
	MaxBatch      int        `yaml:"max_batch"`
	MaxExpires    Duration   `yaml:"max_expires"`
	MaxBytes      int        `yaml:"max_bytes"`

	nullTime bool // start_time is present and null
}

// Placement restricts replicas to servers of a cluster that have all tags.
type Placement struct {
	Cluster string   `yaml:"cluster"`
	Tags    []string `yaml:"tags"`
}

// Republish publishes each stored message again. An unquoted `src: >` is an
// empty folded text in YAML; the server treats "" as ">", every subject.
type Republish struct {
	Src  string `yaml:"src"`
	Dest string `yaml:"dest"`
}

// Duration is a number of seconds or a Go duration ("30s") in YAML. It is never
// negative.
type Duration time.Duration

// UnmarshalYAML implements the YAML decoder's interface.
func (d *Duration) UnmarshalYAML(decode func(any) error) error {
	var v any
	if err := decode(&v); err != nil {
		return err
	}
	var got time.Duration
	switch v := v.(type) {
	case nil:
	case uint64:
		if v > math.MaxInt64/uint64(time.Second) {
			return fmt.Errorf("%d seconds are too long", v)
		}
		got = time.Duration(v) * time.Second
	case string:
		var err error
		if got, err = time.ParseDuration(v); err != nil {
			return fmt.Errorf("%q is no duration: write seconds as a number, or 30s, 5m, 1h", v)
		}
	default:
		return fmt.Errorf("%v is no duration: write whole seconds, or 30s, 5m, 1h", v)
	}
	if got < 0 {
		return fmt.Errorf("a duration cannot be negative: %s", got)
	}
	*d = Duration(got)
	return nil
}
