package natsio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamName returns the stream of a journal partition: EVENTS, or EVENTS_<n> if
// there are several partitions.
func StreamName(partition, partitions int) string {
	if partitions == 1 {
		return "EVENTS"
	}
	return "EVENTS_" + strconv.Itoa(partition)
}

// IntakeRoot is the subject root on which journals receive events, followed by a
// random token per journal. No stream captures events.> itself: a client without
// the permission to publish there can still make other parties reply, deliver or
// republish there.
const IntakeRoot = "$TIDEMARK."

// wantedReplicas is the number of replicas of every stream that holds state, where
// the servers can keep so many.
const wantedReplicas = 3

// OpenStream opens a stream and creates it if it is missing. Replicas 0 asks for
// wantedReplicas; a server or cluster that cannot keep so many gets one. An
// existing stream with fewer replicas gets the wanted ones as soon as the cluster
// can keep them; its other settings stay. The mode AsyncPersistMode holds only
// where there is no cluster. Only an account that demands a size
// limit gets one: MaxBytes, or a share of what the account has left.
//
// OpenStream fails with *QuotaError when a limit of the account or server does not
// permit the stream, and when the server drops a property that the engine needs.
func OpenStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	if cfg.Replicas == 0 {
		cfg.Replicas = wantedReplicas
	}
	var s jetstream.Stream
	err := Attempt(ctx, func(ctx context.Context) (err error) {
		s, err = js.Stream(ctx, cfg.Name)
		return err
	})
	if err == nil {
		if err := dropped(s.CachedInfo(), &cfg); err != nil {
			return nil, err
		}
		return raise(ctx, js, s, cfg.Replicas), nil
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("open stream %s: %w", cfg.Name, err)
	}
	c := creation{js: js, cfg: cfg}
	s, err = c.replicated(ctx)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another engine creates it
		s, err = Find(ctx, js, cfg.Name)
	}
	if err != nil {
		return nil, quotaError(ctx, js, cfg.Name, err)
	}
	if err := dropped(s.CachedInfo(), &cfg); err != nil {
		return nil, errors.Join(err, js.DeleteStream(ctx, cfg.Name)) // it is empty
	}
	return s, nil
}

// creation creates one stream within the limits of servers and account.
type creation struct {
	js  jetstream.JetStream
	cfg jetstream.StreamConfig
}

// replicated creates the stream with the wanted replicas or, if the servers cannot
// keep them, with one.
func (c *creation) replicated(ctx context.Context) (jetstream.Stream, error) {
	mode := c.cfg.PersistMode
	if c.cfg.Replicas > 1 {
		c.cfg.PersistMode = jetstream.DefaultPersistMode // the server permits no other with several replicas
	}
	s, err := c.sized(ctx)
	switch {
	case c.cfg.Replicas == 1:
	case HasCode(err, CodeReplicasNotSupported):
		c.cfg.Replicas, c.cfg.PersistMode = 1, mode
		s, err = c.sized(ctx)
	case HasCode(err, CodeNoPeers):
		c.cfg.Replicas = 1
		s, err = c.sized(ctx)
	}
	return s, err
}

const (
	minStreamBytes     = 1 << 20
	defaultStreamBytes = 64 << 30 // where neither the caller nor the account has a limit
)

// sized creates the stream without a size limit if the servers cannot reserve
// its limit, and with a smaller one if the account demands a limit.
func (c *creation) sized(ctx context.Context) (jetstream.Stream, error) {
	cfg := c.cfg
	s, err := c.create(ctx, cfg)
	if cfg.MaxBytes > 0 && noRoom(err) {
		cfg.MaxBytes = -1
		s, err = c.create(ctx, cfg)
	}
	if !HasCode(err, CodeMaxBytesRequired) {
		return s, err
	}
	bytes := c.share(ctx)
	for ; bytes >= minStreamBytes; bytes /= 2 {
		cfg.MaxBytes = bytes
		if s, err = c.create(ctx, cfg); !noRoom(err) {
			break
		}
	}
	return s, err
}

// create may be repeated: the server accepts the configuration that a stream has.
func (c *creation) create(ctx context.Context, cfg jetstream.StreamConfig) (s jetstream.Stream, err error) {
	err = Attempt(ctx, func(ctx context.Context) (err error) {
		s, err = c.js.CreateStream(ctx, cfg)
		return err
	})
	return s, err
}

// noRoom reports whether a smaller size limit may help.
func noRoom(err error) bool { return HasCode(err, storageCodes...) || HasCode(err, CodeNoPeers) }

// share is the size limit to try first: the configured one, but at most half of
// what the account may still reserve for the journal, and an eighth for others.
func (c *creation) share(ctx context.Context) int64 {
	wanted := c.cfg.MaxBytes
	if wanted <= 0 {
		wanted = defaultStreamBytes
	}
	info, err := c.js.AccountInfo(ctx)
	if err != nil {
		return wanted
	}
	tier, ok := info.Tiers["R"+strconv.Itoa(c.cfg.Replicas)]
	if !ok {
		tier = info.Tier
	}
	limit, reserved := tier.Limits.MaxStore, tier.ReservedStore
	if c.cfg.Storage == jetstream.MemoryStorage {
		limit, reserved = tier.Limits.MaxMemory, tier.ReservedMemory
	}
	if limit <= 0 {
		return wanted
	}
	free := max(limit-int64(reserved), 0)
	if !ok {
		free /= int64(c.cfg.Replicas) // tiers count one replica, an account without tiers counts all
	}
	if strings.HasPrefix(c.cfg.Name, "EVENTS") {
		return min(wanted, free/2)
	}
	return min(wanted, free/8)
}

// raiseTimeout bounds an attempt to raise the replicas, which is repeated.
const raiseTimeout = 5 * time.Second

// raise gives a stream of a cluster the wanted replicas. It returns the stream as
// it is if the cluster cannot keep them now.
func raise(ctx context.Context, js jetstream.JetStream, s jetstream.Stream, wanted int) jetstream.Stream {
	info := s.CachedInfo()
	if info.Config.Replicas >= wanted || info.Cluster == nil || info.Cluster.Name == "" ||
		info.Config.PersistMode == jetstream.AsyncPersistMode {
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, raiseTimeout)
	defer cancel()
	cfg := info.Config
	cfg.Replicas = wanted
	if raised, err := js.UpdateStream(ctx, cfg); err == nil {
		return raised
	}
	return s
}

// dropped fails if a stream lacks a property that cfg requests and that no client
// can replace. A server that does not know a property ignores it.
func dropped(info *jetstream.StreamInfo, cfg *jetstream.StreamConfig) error {
	got := &info.Config
	var missing []string
	for _, p := range []struct {
		name      string
		has, want bool
	}{
		{"allow_atomic", got.AllowAtomicPublish, cfg.AllowAtomicPublish},
		{"allow_direct", got.AllowDirect, cfg.AllowDirect},
		{"deny_delete", got.DenyDelete, cfg.DenyDelete},
		{"allow_msg_ttl", got.AllowMsgTTL, cfg.AllowMsgTTL},
		{"allow_msg_schedules", got.AllowMsgSchedules, cfg.AllowMsgSchedules},
		{"subject_delete_marker_ttl", got.SubjectDeleteMarkerTTL > 0, cfg.SubjectDeleteMarkerTTL > 0},
		{"subject_transform", got.SubjectTransform != nil, cfg.SubjectTransform != nil},
		{"republish", got.RePublish != nil, cfg.RePublish != nil},
		{"retention " + cfg.Retention.String(), got.Retention == cfg.Retention, true},
	} {
		if p.want && !p.has {
			missing = append(missing, p.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	by := ""
	if v := got.Metadata["_nats.ver"]; v != "" {
		by = " of nats-server " + v
	}
	return fmt.Errorf("stream %s lacks %s, which this engine needs: the server%s does not support it, or another program made the stream; "+
		"use nats-server %s or later, or remove the stream", cfg.Name, strings.Join(missing, ", "), by, MinServer)
}

// DuplicateWindow is the duplicate window that the server gives a stream which names none:
// two minutes, or the age of its messages if that is shorter. age 0 = messages have no age.
func DuplicateWindow(age time.Duration) time.Duration {
	if age > 0 {
		return min(2*time.Minute, age)
	}
	return 2 * time.Minute
}

// KVConfig is the configuration of the stream behind a bucket, as every KV client
// sets it (NATS ADR-8), with one value a key.
func KVConfig(bucket, description string, ttl time.Duration) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "KV_" + bucket, Description: description, Subjects: []string{"$KV." + bucket + ".>"},
		Storage: jetstream.FileStorage, MaxAge: ttl, MaxMsgsPerSubject: 1, Duplicates: DuplicateWindow(ttl), Discard: jetstream.DiscardNew,
		AllowRollup: true, DenyDelete: true, AllowDirect: true,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: -1,
	}
}

// OpenKV opens the bucket of a KVConfig and creates it if it is missing.
func OpenKV(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.KeyValue, error) {
	if _, err := OpenStream(ctx, js, cfg); err != nil {
		return nil, err
	}
	return js.KeyValue(ctx, strings.TrimPrefix(cfg.Name, "KV_"))
}
