package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// Importer imports an export into an empty journal. Until Finish the digest of the
// export is in the journal's metadata, and no engine can open the journal; after
// an interruption, only an import of the same file can continue. The journal
// receives events on a new subject meanwhile, so that an engine that already has
// it open cannot write to it: its commands fail with status 503.
type Importer struct {
	*Journal
	resumed bool // an earlier run of the same import exists
	digest  string
}

// ImportedEvent is an encoded event of an export with its message id.
type ImportedEvent = export.Stored

// checkImporting returns an error if an import into the journal is not finished.
// running is the digest in the journal's metadata and own the digest of the
// caller's import; empty = none. The import that started may continue.
func checkImporting(running, own string) error {
	switch {
	case running == "" || running == own:
		return nil
	case own == "":
		return fmt.Errorf("an import into this journal is not finished: run 'engine archive import' again "+
			"with the same file (its digest starts with %.12s), or remove the journal and start over", running)
	}
	return fmt.Errorf("the import of another file into this journal is not finished: its digest starts with %.12s, "+
		"the digest of this file with %.12s; import the other file, or remove the journal and start over", running, own)
}

// ErrNotEmpty means that the journal contains events that the import did not write.
var ErrNotEmpty = errors.New("the journal is not empty")

// OpenImporter opens a journal for an import and creates it if it does not exist.
// It fails if the journal does not have cfg.Partitions partitions, and with
// ErrNotEmpty if it contains events and no earlier run of the same import exists.
func OpenImporter(ctx context.Context, nc *nats.Conn, cfg Config, digest string) (*Importer, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	found, err := (&Journal{js: js}).find(ctx)
	if err != nil {
		return nil, err
	}
	if found.partitions != 0 && found.partitions != cfg.Partitions {
		return nil, fmt.Errorf("the export has %s, the existing journal %d, and the number cannot change: "+
			"import into a new data directory or another server", counted.Of(cfg.Partitions, "partition"), found.partitions)
	}
	cfg.importing = digest
	j, err := Open(ctx, nc, cfg)
	if err != nil {
		return nil, err
	}
	i := &Importer{Journal: j, digest: digest}
	for _, s := range j.streams {
		i.resumed = i.resumed || s.CachedInfo().Config.Metadata[metaImporting] == digest
	}
	if err := i.checkEmpty(ctx); err != nil {
		return nil, err
	}
	for p := range j.streams {
		if err := i.redirect(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := i.checkEmpty(ctx); err != nil { // an engine appended before the redirect
		return nil, errors.Join(err, i.Finish(ctx))
	}
	return i, nil
}

func (i *Importer) checkEmpty(ctx context.Context) error {
	events := uint64(0)
	for p := range i.streams {
		head, err := i.Head(ctx, p)
		if err != nil {
			return err
		}
		events += head
	}
	if events > 0 && !i.resumed {
		return fmt.Errorf("%w: it has %s, and an import needs an empty journal: "+
			"import into a new data directory or another server", ErrNotEmpty, counted.Of(events, "event"))
	}
	return nil
}

// redirect stores the digest in a partition's metadata and gives it a new intake
// subject.
func (i *Importer) redirect(ctx context.Context, p int) error {
	return i.updateConfig(ctx, p, func(cfg *jetstream.StreamConfig) bool {
		if cfg.Metadata[metaImporting] != "" {
			return false
		}
		cfg.Metadata[metaImporting], cfg.Metadata[metaIntake] = i.digest, cfg.Subjects[0]
		i.setIntake(cfg, p, natsio.IntakeRoot+nuid.Next()+"."+strconv.Itoa(p)+".>")
		return true
	})
}

// setIntake sets the intake subject of a partition in cfg and in the journal.
func (j *Journal) setIntake(cfg *jetstream.StreamConfig, p int, intake string) {
	cfg.Subjects = []string{intake}
	cfg.SubjectTransform = &jetstream.SubjectTransformConfig{Source: intake, Destination: cfg.SubjectTransform.Destination}
	j.publish[p] = strings.TrimSuffix(intake, ">")
}

// Finish ends the import: it restores the intake subjects and lets engines open
// the journal. AppendBatch must not be called afterwards.
func (i *Importer) Finish(ctx context.Context) error {
	for p := range i.streams {
		if err := i.updateConfig(ctx, p, func(cfg *jetstream.StreamConfig) bool {
			intake, ok := cfg.Metadata[metaIntake]
			if !ok {
				return false
			}
			delete(cfg.Metadata, metaImporting)
			delete(cfg.Metadata, metaIntake)
			i.setIntake(cfg, p, intake)
			return true
		}); err != nil {
			return err
		}
	}
	return nil
}

// updateConfig updates the configuration of a partition's stream with edit, which
// returns false if nothing changes.
func (j *Journal) updateConfig(ctx context.Context, partition int, edit func(*jetstream.StreamConfig) bool) error {
	info, err := j.streams[partition].Info(ctx)
	if err != nil {
		return fmt.Errorf("read the configuration of partition %d: %w", partition, err)
	}
	cfg := info.Config
	if cfg.Metadata = maps.Clone(cfg.Metadata); !edit(&cfg) {
		return nil
	}
	if _, err := j.js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("update the configuration of stream %s: %w", cfg.Name, err)
	}
	return nil
}

// AppendBatch appends encoded events unchanged, all or none. The last revision of
// the partition must be after. AppendBatch retries for a minute; after an error it
// compares the head of the partition to find out whether the batch was stored.
func (i *Importer) AppendBatch(ctx context.Context, partition int, after uint64, batch []ImportedEvent) error {
	msgs := make([]*nats.Msg, len(batch))
	for n := range batch {
		msgs[n] = &nats.Msg{Subject: i.publish[partition] + string(batch[n].Stream), Data: batch[n].Body, Header: nats.Header{}}
		if batch[n].ID != "" {
			msgs[n].Header[jetstream.MsgIDHeader] = []string{batch[n].ID}
		}
	}
	msgs[0].Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(after, 10)}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := i.publishBatch(ctx, msgs)
		if err == nil {
			return struct{}{}, nil
		}
		if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) || ctx.Err() != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		switch head, headErr := i.Head(ctx, partition); {
		case headErr != nil:
			return struct{}{}, err
		case head == after+uint64(len(batch)):
			return struct{}{}, nil // stored; only the ack was lost
		case head != after:
			return struct{}{}, backoff.Permanent(fmt.Errorf("the head of partition %d is %d, expected %d: another process writes to this journal; stop it and import again: %w", partition, head, after, err))
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(time.Minute))
	if err != nil {
		return fmt.Errorf("append after revision %d of partition %d: %w", after, partition, err)
	}
	return nil
}

func (i *Importer) publishBatch(ctx context.Context, msgs []*nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if len(msgs) > 1 {
		_, err := jetstreamext.PublishMsgBatch(ctx, i.js, msgs)
		return err
	}
	_, err := i.js.PublishMsg(ctx, msgs[0])
	return err
}
