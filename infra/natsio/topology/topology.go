// Package topology keeps the seed's streams, buckets and consumers (seed 6.1 to
// 6.3) as its own YAML writes them: it reads that YAML, says what a live server
// would have to create or change and why anything is in force differently, does
// it, and shows what has drifted since.
package topology

import "time"

// Topology is what a file writes, in its order.
type Topology struct {
	Streams   []Stream
	Buckets   []Bucket
	Consumers []Consumer
}

// Stream is a stream as the seed's 6.1 writes it. A limit of 0 is none.
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

// Bucket is a KV bucket as the seed's 6.2 writes it.
type Bucket struct {
	Bucket       string     `yaml:"bucket"`
	Description  string     `yaml:"description"`
	TTL          Duration   `yaml:"ttl"` // 0 = never
	Storage      string     `yaml:"storage"`
	Replicas     int        `yaml:"replicas"`
	History      int64      `yaml:"history"`
	MaxValueSize int32      `yaml:"max_value_size"`
	MaxBytes     int64      `yaml:"max_bytes"`
	Placement    *Placement `yaml:"placement"`
	Compression  string     `yaml:"compression"`
	Republish    *Republish `yaml:"republish"`
}

// Consumer is a consumer as the seed's 6.3 writes it.
type Consumer struct {
	Key           string     `yaml:"-"` // the name it has in the file
	Stream        string     `yaml:"stream"`
	Name          string     `yaml:"name"` // "" = ephemeral
	Description   string     `yaml:"description"`
	DeliverPolicy string     `yaml:"deliver_policy"`
	AckPolicy     string     `yaml:"ack_policy"`
	AckWait       Duration   `yaml:"ack_wait"`
	MaxDeliver    int        `yaml:"max_deliver"`
	RateLimit     int        `yaml:"rate_limit"` // messages a second
	MaxAckPending int        `yaml:"max_ack_pending"`
	FilterSubject string     `yaml:"filter_subject"`
	ReplayPolicy  string     `yaml:"replay_policy"`
	StartSequence *uint64    `yaml:"start_sequence"`
	StartTime     *time.Time `yaml:"start_time"`
	MaxBatch      int        `yaml:"max_batch"`
	MaxExpires    Duration   `yaml:"max_expires"`
	MaxBytes      int        `yaml:"max_bytes"`

	nullTime bool // start_time is written, as null
}

// Placement is where a stream's replicas may live: servers of that cluster that
// have every one of the tags.
type Placement struct {
	Cluster string   `yaml:"cluster"`
	Tags    []string `yaml:"tags"`
}

// Republish sends each stored message out again. The seed's unquoted
// `src: >` is YAML's folded text and reads as "", which the server takes for
// ">", every subject, too.
type Republish struct {
	Src  string `yaml:"src"`
	Dest string `yaml:"dest"`
}

// Duration is written as a number of seconds or as Go's "30s".
type Duration time.Duration

// UnmarshalYAML implements the YAML decoder's interface.
func (d *Duration) UnmarshalYAML(decode func(any) error) error {
	var v any
	if err := decode(&v); err != nil {
		return err
	}
	got, err := duration(v)
	*d = Duration(got)
	return err
}
