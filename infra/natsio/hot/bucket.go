package hot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Bucket is one of the seed's KV buckets (seed 6.2), which the hot view keeps
// and anyone may get and watch.
type Bucket struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	pipeline *natsio.Publisher
	stream   jetstream.Stream
	name     string
	root     string // "$KV.NAME."
	log      *slog.Logger
	cfg      BucketConfig
	ttl      time.Duration
	// seqs remembers the bucket's own sequence of keys written lately, so that
	// a guarded put needs no read before it. A wrong one costs that read.
	seqs *sequenceCache
}

// BucketConfig is a bucket as the seed writes it.
type BucketConfig struct {
	Name         string
	Description  string
	TTL          time.Duration // 0 = never
	History      int64
	MaxValueSize int32
	MaxBytes     int64
	Replicas     int // 0 = min(3, peers)
	Embedded     bool
	Memory       bool // in memory instead of on disk
}

// AgentStateBucket is the seed's agent_state_kv.
var AgentStateBucket = BucketConfig{
	Name: "AGENT_STATE", Description: "Fast access agent state cache",
	TTL: 30 * time.Minute, History: 3, MaxValueSize: 2 << 20, MaxBytes: 5 << 30,
}

// The seed's other buckets (6.2).
var (
	TaskStateBucket = BucketConfig{
		Name: "TASK_STATE", Description: "Task execution state and progress tracking",
		TTL: 2 * time.Hour, History: 5, MaxValueSize: 1 << 20, MaxBytes: 2 << 30,
	}
	SessionDataBucket = BucketConfig{
		Name: "SESSION_DATA", Description: "Temporary user and agent session storage",
		TTL: time.Hour, History: 1, MaxValueSize: 1 << 20, MaxBytes: 1 << 30,
	}
	AgentConfigBucket = BucketConfig{
		Name: "AGENT_CONFIG", Description: "Agent configuration and persistent settings",
		History: 10, MaxValueSize: 512 << 10, MaxBytes: 1 << 30,
	}
)

// OpenBucket opens a bucket, making it where there is none. On one node its
// writes do not wait for the disk: what a power cut takes is folded again.
func OpenBucket(ctx context.Context, nc *nats.Conn, cfg BucketConfig, log *slog.Logger) (*Bucket, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	out, err := natsio.NewPublisher(nc)
	if err != nil {
		return nil, err
	}
	b := &Bucket{nc: nc, js: js, pipeline: out, name: cfg.Name, root: "$KV." + cfg.Name + ".", log: log, cfg: cfg, ttl: cfg.TTL,
		seqs: newSequenceCache(1 << 20)}
	b.stream, err = js.Stream(ctx, "KV_"+cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		b.stream, err = b.create(ctx, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", cfg.Name, err)
	}
	b.ttl = b.stream.CachedInfo().Config.MaxAge
	return b, nil
}

func (b *Bucket) create(ctx context.Context, cfg BucketConfig) (jetstream.Stream, error) {
	sc := jetstream.StreamConfig{
		Name: "KV_" + cfg.Name, Description: cfg.Description, Subjects: []string{b.root + ">"},
		MaxMsgsPerSubject: cfg.History, MaxBytes: cfg.MaxBytes, MaxAge: cfg.TTL, MaxMsgSize: cfg.MaxValueSize,
		MaxMsgs: -1, MaxConsumers: -1, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		Duplicates: duplicates(cfg.TTL), AllowRollup: true, DenyDelete: true, AllowDirect: true,
		Compression: jetstream.S2Compression, Replicas: natsio.Replicas(b.nc, cfg.Replicas),
	}
	if cfg.Memory {
		sc.Storage, sc.Compression = jetstream.MemoryStorage, jetstream.NoCompression
	} else if sc.Replicas == 1 && cfg.Embedded {
		sc.PersistMode = jetstream.AsyncPersistMode
	}
	s, err := b.js.CreateStream(ctx, sc)
	if natsio.HasCode(err, natsio.CodeNoResources, natsio.CodeStorageExceeded, natsio.CodeMemoryExceeded, natsio.CodeNoPeers) && sc.MaxBytes > 0 {
		sc.MaxBytes = -1
		if s, err = b.js.CreateStream(ctx, sc); err == nil {
			b.log.Warn("the server cannot reserve what the bucket may grow to; it is made without a limit of its own",
				"bucket", cfg.Name, "max_bytes", cfg.MaxBytes)
		}
	}
	return s, err
}

// duplicates is the default window, which may not be longer than the age.
func duplicates(ttl time.Duration) time.Duration {
	if ttl > 0 {
		return min(2*time.Minute, ttl)
	}
	return 2 * time.Minute
}

// Get is the entry under a key; found is false when there is none.
func (b *Bucket) Get(ctx context.Context, agent, key string) (e readmodel.Entry, found bool, err error) {
	msg, err := b.stream.GetLastMsgForSubject(ctx, b.root+agent+"."+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return e, false, nil
	}
	if err != nil {
		return e, false, fmt.Errorf("read %s from bucket %s: %w", key, b.name, err)
	}
	if gone(msg.Header) {
		return e, false, nil
	}
	e, err = readmodel.DecodeKV(msg.Data)
	if err != nil {
		b.log.Warn("a hot value cannot be read and is passed over", "bucket", b.name, "agent", agent, "key", key, "error", err)
		return e, false, nil
	}
	e.Agent, e.Key = agent, key
	return e, true, nil
}

// kvOperationHeader marks a KV message that is no value (ADR-8).
const kvOperationHeader = "KV-Operation"

// gone tells a KV marker (deleted, purged, expired) from a value (ADR-8).
func gone(h nats.Header) bool {
	return h.Get(kvOperationHeader) != "" || h.Get(jetstream.MarkerReasonHeader) != ""
}

// Fill puts an entry where there is no value, never over one, and never over the
// marker of what is newer: it may have been read before that was deleted. It
// tells whether it did.
func (b *Bucket) Fill(ctx context.Context, e *readmodel.Entry, header nats.Header) (bool, error) {
	subject, seq := b.root+e.Agent+"."+e.Key, uint64(0)
	for range 2 { // where there is nothing, else over the marker that is there
		msg := &nats.Msg{Subject: subject, Data: e.EncodeKV(), Header: header}
		_, err := b.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(seq))
		if err == nil {
			return true, nil
		}
		if !natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
			return false, fmt.Errorf("fill %s into bucket %s: %w", e.Key, b.name, err)
		}
		last, err := b.stream.GetLastMsgForSubject(ctx, subject)
		if err != nil || !gone(last.Header) || revisionOf(last) > e.Revision || last.Header.Get(heldHeader) != "" {
			return false, nil
		}
		seq = last.Sequence
	}
	return false, nil
}

// Len is the number of keys with a value or a marker.
func (b *Bucket) Len(ctx context.Context) (uint64, error) {
	info, err := b.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.NumSubjects, nil
}

// ReadBucket opens a bucket that is there; it fails where there is none.
func ReadBucket(ctx context.Context, nc *nats.Conn, name string) (*Bucket, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	out, err := natsio.NewPublisher(nc)
	if err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, "KV_"+name)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	return &Bucket{nc: nc, js: js, pipeline: out, stream: s, name: name, root: "$KV." + name + ".", ttl: s.CachedInfo().Config.MaxAge,
		log: slog.New(slog.DiscardHandler), seqs: newSequenceCache(1000)}, nil
}
