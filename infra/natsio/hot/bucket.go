package hot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/logs"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Bucket is a KV bucket of the wire contract. The hot view writes it; any client
// may get and watch its keys.
type Bucket struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	publisher *natsio.Publisher
	stream    jetstream.Stream
	name      string
	prefix    string // of its subjects: "$KV.NAME."
	log       *slog.Logger
	rejects   logs.Limited // of values that the bucket does not take
	cfg       BucketConfig
	// seqs caches the bucket's sequences of recently written keys, so that a
	// compare-and-set put needs no read first. A wrong sequence costs one read.
	seqs  *sequenceCache
	full  fullness
	ahead atomic.Int64 // nanoseconds that the server's clock is ahead of this engine's
}

// age is how old a message is by the server's clock, which its TTL goes by.
func (b *Bucket) age(at time.Time) time.Duration {
	return time.Since(at) + time.Duration(b.ahead.Load())
}

// BucketConfig describes a bucket.
type BucketConfig struct {
	Name         string
	Description  string
	TTL          time.Duration // 0 = never
	History      int64
	MaxValueSize int32
	MaxBytes     int64
	Replicas     int  // 0 = 3 where the servers can keep them
	Embedded     bool // the server is the engine's own
	Memory       bool // memory storage instead of file storage
}

// AgentStateBucket is agent_state_kv of the topology document.
var AgentStateBucket = BucketConfig{
	Name: "AGENT_STATE", Description: "Fast access agent state cache",
	TTL: 30 * time.Minute, History: 3, MaxValueSize: 2 << 20, MaxBytes: 5 << 30,
}

// The buckets of documents, with the limits of the topology document.
var (
	TaskStateBucket = BucketConfig{
		Name: "TASK_STATE", Description: "Task execution state and progress tracking",
		TTL: 2 * time.Hour, History: 5, MaxValueSize: 1 << 20, MaxBytes: 2 << 30,
	}
	SessionDataBucket = BucketConfig{
		Name: "SESSION_DATA", Description: "Temporary user and agent session storage",
		TTL: time.Hour, History: 1, MaxValueSize: 1 << 20, MaxBytes: 1 << 30,
	}
	// ReminderStateBucket is not in the topology document. Its rows do not expire: a
	// reminder may wait for years.
	ReminderStateBucket = BucketConfig{
		Name: "REMINDER_STATE", Description: "Reminders and their next due times",
		History: 1, MaxValueSize: 1 << 20, MaxBytes: 1 << 30,
	}
	AgentConfigBucket = BucketConfig{
		Name: "AGENT_CONFIG", Description: "Agent configuration and persistent settings",
		History: 10, MaxValueSize: 512 << 10, MaxBytes: 1 << 30,
	}
	// ClaimStateBucket is not in the topology document. Its rows do not expire: a claim
	// may be held for ever.
	ClaimStateBucket = BucketConfig{
		Name: "CLAIM_STATE", Description: "Claims: who holds which name, and until when",
		History: 1, MaxValueSize: 1 << 20, MaxBytes: 256 << 20,
	}
)

// OpenBucket opens a bucket and creates it if it is missing. If that fails it
// returns the bucket without its stream too. On a single
// embedded node, writes do not wait for the disk: the view folds again what a
// power cut loses.
func OpenBucket(ctx context.Context, nc *nats.Conn, cfg BucketConfig, log *slog.Logger) (*Bucket, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	publisher, err := natsio.NewPublisher(nc)
	if err != nil {
		return nil, err
	}
	b := &Bucket{nc: nc, js: js, publisher: publisher, name: cfg.Name, prefix: "$KV." + cfg.Name + ".", log: log, rejects: logs.NewLimited(log, logs.ByClients), cfg: cfg,
		seqs: newSequenceCache(1 << 20)}
	b.stream, err = js.Stream(ctx, "KV_"+cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		b.stream, err = b.create(ctx, cfg)
	}
	if err != nil {
		b.stream = nil
		return b, fmt.Errorf("open bucket %s: %w", cfg.Name, err)
	}
	return b, nil
}

// Ensure makes the bucket again if it was removed, and reports whether it was.
func (b *Bucket) Ensure(ctx context.Context) (remade bool, err error) {
	_, err = b.js.Stream(ctx, "KV_"+b.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = b.create(ctx, b.cfg)
		remade = err == nil
	}
	if err != nil {
		return false, fmt.Errorf("bucket %s: %w", b.name, err)
	}
	return remade, nil
}

func (b *Bucket) create(ctx context.Context, cfg BucketConfig) (jetstream.Stream, error) {
	sc := jetstream.StreamConfig{
		Name: "KV_" + cfg.Name, Description: cfg.Description, Subjects: []string{b.prefix + ">"},
		MaxMsgsPerSubject: cfg.History, MaxBytes: cfg.MaxBytes, MaxAge: cfg.TTL, MaxMsgSize: cfg.MaxValueSize,
		MaxMsgs: -1, MaxConsumers: -1, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		Duplicates: natsio.DuplicateWindow(cfg.TTL), AllowRollup: true, DenyDelete: true, AllowDirect: true,
		Compression: jetstream.S2Compression, Replicas: cfg.Replicas,
	}
	if cfg.Memory {
		sc.Storage, sc.Compression = jetstream.MemoryStorage, jetstream.NoCompression
	} else if cfg.Embedded {
		sc.PersistMode = jetstream.AsyncPersistMode
	}
	s, err := natsio.OpenStream(ctx, b.js, sc)
	if err != nil {
		return nil, err
	}
	if got := s.CachedInfo().Config.MaxBytes; got != sc.MaxBytes {
		b.log.Warn("the server cannot reserve the maximum size of the bucket; the bucket has another limit",
			"bucket", cfg.Name, "max_bytes", sc.MaxBytes, "in_force", got)
	}
	return s, nil
}

// Name returns the name of the bucket.
func (b *Bucket) Name() string { return b.name }

// Get returns the entry of a key; found is false if there is none or if its
// value is invalid.
func (b *Bucket) Get(ctx context.Context, agent, key string) (e readmodel.Entry, found bool, err error) {
	msg, err := natsio.LastMessage(ctx, b.nc, b.stream, b.prefix+agent+"."+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return e, false, nil
	}
	if err != nil {
		return e, false, fmt.Errorf("read %s from bucket %s: %w", key, b.name, err)
	}
	if isMarker(msg.Header) {
		return e, false, nil
	}
	e, err = readmodel.DecodeKV(msg.Data)
	if err != nil {
		b.log.Warn("invalid value in the bucket; it is ignored", "bucket", b.name, "agent", agent, "key", key, "error", err)
		return e, false, nil
	}
	e.Agent, e.Key = agent, key
	return e, true, nil
}

// kvOperationHeader marks a KV message that is not a value (NATS ADR-8).
const kvOperationHeader = "KV-Operation"

// TTL is the age at which the bucket removes rows, as of the last time that its
// configuration was read; 0 = never.
func (b *Bucket) TTL() time.Duration { return b.stream.CachedInfo().Config.MaxAge }

// isMarker reports whether a KV message is a marker (deleted, purged, expired)
// instead of a value (NATS ADR-8).
func isMarker(h nats.Header) bool {
	return h.Get(kvOperationHeader) != "" || h.Get(jetstream.MarkerReasonHeader) != ""
}

// Fill puts an entry if its key has no value, and reports whether it did. It
// does not replace a marker of a newer revision, because the entry may have been
// read before that deletion, nor the marker of a quarantined aggregate.
func (b *Bucket) Fill(ctx context.Context, e *readmodel.Entry, header nats.Header) (bool, error) {
	subject, seq := b.prefix+e.Agent+"."+e.Key, uint64(0)
	for range 2 { // first expect no message, then expect the marker that was found
		// gofail: var hotFill struct{}
		// return false, context.DeadlineExceeded
		msg := &nats.Msg{Subject: subject, Data: e.EncodeKV(), Header: header}
		_, err := b.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(seq))
		if err == nil {
			return true, nil
		}
		if !natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
			return false, fmt.Errorf("fill %s into bucket %s: %w", e.Key, b.name, err)
		}
		last, err := natsio.LastMessage(ctx, b.nc, b.stream, subject)
		if err != nil || !isMarker(last.Header) || revisionOf(last) > e.Revision || last.Header.Get(quarantineHeader) != "" {
			return false, nil
		}
		seq = last.Sequence
	}
	return false, nil
}

// Len returns the number of keys that have a value or a marker.
func (b *Bucket) Len(ctx context.Context) (uint64, error) {
	info, err := b.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.NumSubjects, nil
}

// OpenExistingBucket opens a bucket without creating it. It fails with
// jetstream.ErrStreamNotFound if the bucket is missing.
func OpenExistingBucket(ctx context.Context, nc *nats.Conn, name string) (*Bucket, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	publisher, err := natsio.NewPublisher(nc)
	if err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, "KV_"+name)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	log := slog.New(slog.DiscardHandler)
	return &Bucket{nc: nc, js: js, publisher: publisher, stream: s, name: name, prefix: "$KV." + name + ".",
		log: log, rejects: logs.NewLimited(log, logs.ByClients), seqs: newSequenceCache(1000)}, nil
}
