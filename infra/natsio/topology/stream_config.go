package topology

import (
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// desired is the desired state of a stream, or of a bucket's stream.
type desired struct {
	kind     Kind
	name     string // in the document
	replicas int    // in the document
	cfg      jetstream.StreamConfig
	mappings []Mapping
	refused  string // why the server cannot create it
}

func (d *desired) mapped(field, written, inForce, reason string) {
	d.mappings = append(d.mappings, Mapping{Field: field, Written: written, InForce: inForce, Reason: reason})
}

// stream converts a stream of the document. Missing fields get the server's
// defaults, so that the result compares with a live stream.
func (p *Planner) stream(s *Stream) *desired {
	d := &desired{kind: KindStream, name: s.Name, replicas: max(s.Replicas, 1)}
	d.cfg = jetstream.StreamConfig{
		Name: s.Name, Description: s.Description, Subjects: slices.Clone(s.Subjects),
		Retention: retentions[s.Retention], Storage: storages[s.Storage], Discard: discards[s.Discard],
		MaxAge: time.Duration(s.MaxAge), MaxMsgs: limit(s.MaxMsgs), MaxBytes: limit(s.MaxBytes), MaxMsgSize: limit(s.MaxMsgSize),
		MaxConsumers: -1, MaxMsgsPerSubject: -1, Replicas: d.replicas, Placement: s.Placement.config(),
		Duplicates:  time.Duration(s.DuplicateWindow),
		AllowRollup: s.AllowRollup, DenyDelete: s.DenyDelete, DenyPurge: s.DenyPurge,
		Compression: compressions[s.Compression], RePublish: p.republish(d, s.Republish),
	}
	if d.cfg.Duplicates == 0 {
		d.cfg.Duplicates = natsio.DuplicateWindow(d.cfg.MaxAge)
	}
	if p.opts.Prefix != "" {
		for i := range d.cfg.Subjects {
			d.cfg.Subjects[i] = p.prefixed(d.cfg.Subjects[i])
		}
		d.mapped("subjects", list(s.Subjects), list(d.cfg.Subjects), "subject_prefix goes before every subject")
	}
	if d.cfg.Retention == jetstream.InterestPolicy {
		d.mapped("retention", "interest", "interest", p.interest(s.Name))
	}
	return d
}

// interest explains the effect of interest retention on a stream.
func (p *Planner) interest(stream string) string {
	var filters []string
	for i := range p.topology.Consumers {
		if c := &p.topology.Consumers[i]; c.Stream == stream && c.Name != "" {
			filter := c.FilterSubject
			if filter == "" {
				filter = ">"
			}
			filters = append(filters, c.Name+" takes "+p.prefixed(filter))
		}
	}
	text := "the server stores only messages that match a consumer's filter, until they are acknowledged, and acknowledges the rest without storing them"
	if len(filters) == 0 {
		return text + "; the topology has no consumer on this stream, so nothing is stored until one exists"
	}
	return text + "; consumers are created in the same apply, before anything is published: " + list(filters) +
		". Other subjects reach only live subscribers; the journal holds the full history"
}

// bucket converts a bucket of the document to its stream, with the fields that
// every KV client sets (NATS ADR-8).
func (p *Planner) bucket(b *Bucket) *desired {
	d := &desired{kind: KindBucket, name: b.Bucket, replicas: max(b.Replicas, 1)}
	ttl := time.Duration(b.TTL)
	d.cfg = jetstream.StreamConfig{
		Name: "KV_" + b.Bucket, Description: b.Description, Subjects: []string{"$KV." + b.Bucket + ".>"},
		Storage: storages[b.Storage], MaxAge: ttl, MaxMsgsPerSubject: max(b.History, 1),
		MaxBytes: limit(b.MaxBytes), MaxMsgSize: limit(b.MaxValueSize), MaxMsgs: -1, MaxConsumers: -1,
		Replicas: d.replicas, Placement: b.Placement.config(), Duplicates: natsio.DuplicateWindow(ttl), Discard: jetstream.DiscardNew,
		AllowRollup: true, DenyDelete: true, AllowDirect: true,
		Compression: compressions[b.Compression], RePublish: p.republish(d, b.Republish),
	}
	if ttl == 0 {
		d.mapped("ttl", "0", "never", "values stay until they are overwritten or deleted")
	}
	return d
}

func (p *Planner) republish(d *desired, r *Republish) *jetstream.RePublish {
	if r == nil {
		return nil
	}
	src, dest := r.Src, p.prefixed(r.Dest)
	if src == "" {
		src = ">"
		d.mapped("republish.src", `""`, src, "an unquoted > is an empty folded text in YAML; the server treats it as every subject")
	}
	if dest != r.Dest {
		d.mapped("republish.dest", r.Dest, dest, "subject_prefix goes before every subject")
	}
	text := src + " to " + dest
	d.mapped("republish", text, text, "live subscribers get each change at most once. A stream on that subject stores only changes without an expected "+
		"sequence: the server republishes that header, and the stream compares it with its own sequence. No view may read from it")
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
