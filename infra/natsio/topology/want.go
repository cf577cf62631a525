package topology

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// wanted is a stream, a bucket's too, as it should be on this server.
type wanted struct {
	kind     Kind
	name     string // as the file calls it
	replicas int    // as written
	cfg      jetstream.StreamConfig
	mappings []Mapping
	refused  string // why the server cannot have it at all
}

func (w *wanted) mapped(field, written, inForce, reason string) {
	w.mappings = append(w.mappings, Mapping{Field: field, Written: written, InForce: inForce, Reason: reason})
}

// stream is the server's form of the seed's. What is not written is what the
// server would fill in, so that the two can be compared.
func (p *Planner) stream(s *Stream) *wanted {
	w := &wanted{kind: KindStream, name: s.Name, replicas: max(s.Replicas, 1)}
	w.cfg = jetstream.StreamConfig{
		Name: s.Name, Description: s.Description, Subjects: slices.Clone(s.Subjects),
		Retention: retentions[s.Retention], Storage: storages[s.Storage], Discard: discards[s.Discard],
		MaxAge: time.Duration(s.MaxAge), MaxMsgs: limit(s.MaxMsgs), MaxBytes: limit(s.MaxBytes), MaxMsgSize: int32(limit(int64(s.MaxMsgSize))),
		MaxConsumers: -1, MaxMsgsPerSubject: -1, Replicas: w.replicas, Placement: s.Placement.config(),
		Duplicates:  time.Duration(s.DuplicateWindow),
		AllowRollup: s.AllowRollup, DenyDelete: s.DenyDelete, DenyPurge: s.DenyPurge,
		Compression: compressions[s.Compression], RePublish: p.republish(w, s.Republish),
	}
	if w.cfg.Duplicates == 0 {
		w.cfg.Duplicates = window(w.cfg.MaxAge)
	}
	if p.opts.Prefix != "" {
		for i := range w.cfg.Subjects {
			w.cfg.Subjects[i] = p.prefixed(w.cfg.Subjects[i])
		}
		w.mapped("subjects", strings.Join(s.Subjects, ", "), strings.Join(w.cfg.Subjects, ", "), "subject_prefix goes before every subject")
	}
	if w.cfg.Retention == jetstream.InterestPolicy {
		w.mapped("retention", "interest", "interest", p.interest(s.Name))
	}
	return w
}

// interest says what this retention means here.
func (p *Planner) interest(stream string) string {
	var takes []string
	for i := range p.want.Consumers {
		if c := &p.want.Consumers[i]; c.Stream == stream && c.Name != "" {
			filter := c.FilterSubject
			if filter == "" {
				filter = ">"
			}
			takes = append(takes, c.Name+" takes "+p.prefixed(filter))
		}
	}
	text := "the server stores only what a consumer's filter takes, until it is acked, and acks the rest unstored"
	if len(takes) == 0 {
		return text + "; the topology has no consumer here, so nothing is stored until somebody makes one"
	}
	return text + "; made in the same apply, before anything is published: " + strings.Join(takes, ", ") +
		". Other subjects reach live subscribers alone; the whole history is in the journal"
}

// bucket is a stream under ADR-8, with the fields that every KV client sets.
func (p *Planner) bucket(b *Bucket) *wanted {
	w := &wanted{kind: KindBucket, name: b.Bucket, replicas: max(b.Replicas, 1)}
	ttl := time.Duration(b.TTL)
	w.cfg = jetstream.StreamConfig{
		Name: "KV_" + b.Bucket, Description: b.Description, Subjects: []string{"$KV." + b.Bucket + ".>"},
		Storage: storages[b.Storage], MaxAge: ttl, MaxMsgsPerSubject: max(b.History, 1),
		MaxBytes: limit(b.MaxBytes), MaxMsgSize: int32(limit(int64(b.MaxValueSize))), MaxMsgs: -1, MaxConsumers: -1,
		Replicas: w.replicas, Placement: b.Placement.config(), Duplicates: window(ttl), Discard: jetstream.DiscardNew,
		AllowRollup: true, DenyDelete: true, AllowDirect: true,
		Compression: compressions[b.Compression], RePublish: p.republish(w, b.Republish),
	}
	if ttl == 0 {
		w.mapped("ttl", "0", "never", "values stay until they are overwritten or deleted")
	}
	return w
}

func (p *Planner) republish(w *wanted, r *Republish) *jetstream.RePublish {
	if r == nil {
		return nil
	}
	src, dest := r.Src, p.prefixed(r.Dest)
	if src == "" {
		src = ">"
		w.mapped("republish.src", `""`, src, "an unquoted > is YAML's folded text and reads as empty; the server takes that for every subject")
	}
	if dest != r.Dest {
		w.mapped("republish.dest", r.Dest, dest, "subject_prefix goes before every subject")
	}
	text := src + " to " + dest
	w.mapped("republish", text, text, "live subscribers get each change, at most once; a stream there stores only what was written without an expected "+
		"sequence, for the server passes that on and the stream compares it with its own. Nothing may project from it")
	return &jetstream.RePublish{Source: src, Destination: dest}
}

func (p *Planner) prefixed(subject string) string {
	if p.opts.Prefix == "" {
		return subject
	}
	return strings.TrimSuffix(p.opts.Prefix, ".") + "." + subject
}

func (p *Placement) config() *jetstream.Placement {
	if p == nil || p.Cluster == "" && len(p.Tags) == 0 {
		return nil
	}
	return &jetstream.Placement{Cluster: p.Cluster, Tags: p.Tags}
}

// limit is the server's: none is -1.
func limit(v int64) int64 {
	if v == 0 {
		return -1
	}
	return v
}

// window is the server's default duplicate window, never longer than the age.
func window(age time.Duration) time.Duration {
	if age > 0 {
		return min(2*time.Minute, age)
	}
	return 2 * time.Minute
}

// An absent word is its default.
var (
	storages   = map[string]jetstream.StorageType{"memory": jetstream.MemoryStorage}
	retentions = map[string]jetstream.RetentionPolicy{
		"interest": jetstream.InterestPolicy, "workqueue": jetstream.WorkQueuePolicy,
	}
	discards     = map[string]jetstream.DiscardPolicy{"new": jetstream.DiscardNew}
	compressions = map[string]jetstream.StoreCompression{"s2": jetstream.S2Compression}
)

// size is a number of bytes as people read it, exact.
func size(n int64) string {
	if n < 0 {
		return "unlimited"
	}
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprintf("%d %s", n/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}
