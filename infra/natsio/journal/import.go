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
	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// Refill is an empty journal that is being filled from an export. Until Done
// it carries the export's digest in its metadata, and no engine may open it: an
// interrupted import is seen, and can only be continued with the same file.
// Meanwhile it takes events on a subject that nobody else knows, so that an
// engine which already serves it cannot write in between: its commands are 503.
type Importer struct {
	*Journal
	Begun  bool // an earlier run had begun
	digest string
}

// Stored is one event of a batch.
type Stored = export.Stored

// closed is why a journal that is being filled may not be opened; nil when it
// may, by the import that began it.
func closed(mark, mine string) error {
	switch {
	case mark == "" || mark == mine:
		return nil
	case mine == "":
		return fmt.Errorf("the import of an export into this journal was begun and is not finished: "+
			"run 'engine archive import' with the same file again (its digest begins %.12s), or remove the journal and begin anew", mark)
	}
	return fmt.Errorf("the import of another file was begun here and is not finished: "+
		"its digest begins %.12s, that of this file %.12s; import the other one, or remove the journal and begin anew", mark, mine)
}

// ErrNotEmpty means that a journal has events of its own.
var ErrNotEmpty = errors.New("the journal is not empty")

// OpenRefill opens a journal for an import, making it where there is none. It
// must have cfg.Partitions partitions, and no events but those that an earlier
// run of the same import has brought: else ErrNotEmpty.
func OpenImporter(ctx context.Context, nc *nats.Conn, cfg Config, digest string) (*Importer, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	made, err := (&Journal{js: js}).existing(ctx)
	if err != nil {
		return nil, err
	}
	if made != 0 && made != cfg.Partitions {
		return nil, fmt.Errorf("the file holds a journal of %d partitions, the journal here was made with %d, which cannot change: "+
			"import into a new data directory, or another server", cfg.Partitions, made)
	}
	cfg.importing = digest
	j, err := Open(ctx, nc, cfg)
	if err != nil {
		return nil, err
	}
	r := &Importer{Journal: j, digest: digest}
	for _, s := range j.streams {
		r.Begun = r.Begun || s.CachedInfo().Config.Metadata[metaImporting] == digest
	}
	if err := r.empty(ctx); err != nil {
		return nil, err
	}
	for p := range j.streams {
		if err := r.shut(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := r.empty(ctx); err != nil { // a command came in between
		return nil, errors.Join(err, r.Done(ctx))
	}
	return r, nil
}

func (r *Importer) empty(ctx context.Context) error {
	events := uint64(0)
	for p := range r.streams {
		head, err := r.Head(ctx, p)
		if err != nil {
			return err
		}
		events += head
	}
	if events > 0 && !r.Begun {
		return fmt.Errorf("%w: %d events have been written to it, and an import never adds to a journal: "+
			"import into a new data directory, or another server", ErrNotEmpty, events)
	}
	return nil
}

// shut marks a partition and has it take events elsewhere.
func (r *Importer) shut(ctx context.Context, p int) error {
	return r.change(ctx, p, func(cfg *jetstream.StreamConfig) bool {
		if cfg.Metadata[metaImporting] != "" {
			return false
		}
		cfg.Metadata[metaImporting], cfg.Metadata[metaIntake] = r.digest, cfg.Subjects[0]
		r.takeAt(cfg, p, natsio.IntakeRoot+nuid.Next()+"."+strconv.Itoa(p)+".>")
		return true
	})
}

func (r *Importer) takeAt(cfg *jetstream.StreamConfig, p int, intake string) {
	cfg.Subjects = []string{intake}
	cfg.SubjectTransform = &jetstream.SubjectTransformConfig{Source: intake, Destination: cfg.SubjectTransform.Destination}
	r.publish[p] = strings.TrimSuffix(intake, ">")
}

// Done opens the journal to everybody. Nothing more may be filled in.
func (r *Importer) Done(ctx context.Context) error {
	for p := range r.streams {
		if err := r.change(ctx, p, func(cfg *jetstream.StreamConfig) bool {
			intake, ok := cfg.Metadata[metaIntake]
			if !ok {
				return false
			}
			delete(cfg.Metadata, metaImporting)
			delete(cfg.Metadata, metaIntake)
			r.takeAt(cfg, p, intake)
			return true
		}); err != nil {
			return err
		}
	}
	return nil
}

// change changes a partition's configuration as edit says, and nothing else of
// it; edit tells whether there is anything to change.
func (j *Journal) change(ctx context.Context, partition int, edit func(*jetstream.StreamConfig) bool) error {
	info, err := j.streams[partition].Info(ctx)
	if err != nil {
		return fmt.Errorf("look at partition %d: %w", partition, err)
	}
	cfg := info.Config
	if cfg.Metadata = maps.Clone(cfg.Metadata); !edit(&cfg) {
		return nil
	}
	if _, err := j.js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("note in the metadata of stream %s: %w", cfg.Name, err)
	}
	return nil
}

// Fill appends events as they are, the first as the one after revision after
// of its partition, all or none. An answer that gets lost is settled by looking.
func (r *Importer) Fill(ctx context.Context, partition int, after uint64, batch []Stored) error {
	msgs := make([]*nats.Msg, len(batch))
	for i := range batch {
		msgs[i] = &nats.Msg{Subject: r.publish[partition] + string(batch[i].Stream), Data: batch[i].Body, Header: nats.Header{}}
		if batch[i].ID != "" {
			msgs[i].Header[jetstream.MsgIDHeader] = []string{batch[i].ID}
		}
	}
	msgs[0].Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(after, 10)}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := r.send(ctx, msgs)
		if err == nil {
			return struct{}{}, nil
		}
		switch head, look := r.Head(ctx, partition); {
		case look != nil:
			return struct{}{}, err
		case head == after+uint64(len(batch)):
			return struct{}{}, nil // it had been stored; only the answer was lost
		case head != after:
			return struct{}{}, backoff.Permanent(fmt.Errorf("partition %d is at %d, not at %d: who else writes to this journal? (%w)", partition, head, after, err))
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(time.Minute))
	if err != nil {
		return fmt.Errorf("append after revision %d of partition %d: %w", after, partition, err)
	}
	return nil
}

func (r *Importer) send(ctx context.Context, msgs []*nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if len(msgs) > 1 {
		_, err := jetstreamext.PublishMsgBatch(ctx, r.js, msgs)
		return err
	}
	_, err := r.js.PublishMsg(ctx, msgs[0])
	return err
}
