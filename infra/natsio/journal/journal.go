package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Metadata of the journal's streams: who they are does not change for life.
const (
	metaIncarnation = "tidemark.incarnation"
	metaPartitions  = "tidemark.partitions"
	metaTrimmed     = "tidemark.trimmed"    // revision up to which events may be gone; the only one that changes
	metaTrimmedAt   = "tidemark.trimmed_at" // when that was last moved: what is gone was stored before
	metaImporting   = "tidemark.importing"  // while an export is imported: its digest
	metaIntake      = "tidemark.intake"     // likewise: the subject on which the journal takes events otherwise
)

// Journal is the stream EVENTS, or with partitions EVENTS_0 … EVENTS_{n-1}.
// Each takes its events on an intake subject of its own and keeps them under
// events.>, so that every event has the contract's subject wherever it lives.
type Journal struct {
	nc          *nats.Conn
	js          jetstream.JetStream
	pipeline    *natsio.Publisher
	streams     []jetstream.Stream
	publish     []string // subject root per partition, with the last dot
	root        string   // "events." behind the prefix
	incarnation string
	replicas    int
}

var _ history.JournalStore = (*Journal)(nil)

// JournalConfig says how a new journal is made. An existing one keeps what it
// was made with.
type Config struct {
	Subjects   natsio.Subjects
	Partitions int    // fixed when the journal is made; 0 = 1
	Replicas   int    // 0 = min(3, peers)
	importing  string // digest of the export that is being imported: whoever else comes meanwhile is refused
}

// OpenJournal opens the journal, making it where there is none. It refuses a
// number of partitions other than the one the journal was made with.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Journal, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	out, err := natsio.NewPublisher(nc)
	if err != nil {
		return nil, err
	}
	j := &Journal{nc: nc, js: js, pipeline: out, root: cfg.Subjects.Root("events.")}
	want := max(cfg.Partitions, 1)
	made, err := j.existing(ctx)
	if err != nil {
		return nil, err
	}
	if made != 0 && cfg.Partitions != 0 && made != want {
		return nil, fmt.Errorf("the journal was made with %d partitions and cannot change to %d: "+
			"start with --partitions %d, or with a new data directory", made, want, made)
	}
	if made != 0 {
		want = made
	}
	id := ulid.Make().String()
	for p := range want {
		s, err := j.openPartition(ctx, cfg, p, want, id)
		if err != nil {
			return nil, err
		}
		meta := s.CachedInfo().Config.Metadata
		if err := closed(meta[metaImporting], cfg.importing); err != nil {
			return nil, err
		}
		if p == 0 {
			id = meta[metaIncarnation]
		} else if meta[metaIncarnation] != id {
			return nil, fmt.Errorf("stream %s is of another journal than %s", natsio.StreamName(p, want), natsio.StreamName(0, want))
		}
		j.streams = append(j.streams, s)
		j.replicas = s.CachedInfo().Config.Replicas
	}
	j.incarnation = strings.ToLower(id)
	return j, nil
}

// existing is the number of partitions of the journal that is there; 0 = none.
func (j *Journal) existing(ctx context.Context) (int, error) {
	for _, name := range []string{"EVENTS", "EVENTS_0"} {
		s, err := j.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("look for the journal %s: %w", name, err)
		}
		n, err := strconv.Atoi(s.CachedInfo().Config.Metadata[metaPartitions])
		if err != nil {
			return 0, fmt.Errorf("a stream %s exists that is not a Tidemark journal (no %s in its metadata)", name, metaPartitions)
		}
		return n, nil
	}
	return 0, nil
}

func (j *Journal) openPartition(ctx context.Context, cfg Config, p, n int, id string) (jetstream.Stream, error) {
	name := natsio.StreamName(p, n)
	s, err := j.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = j.createPartition(ctx, cfg, p, n, id)
	}
	if err != nil {
		return nil, fmt.Errorf("open the journal %s: %w", name, err)
	}
	info := s.CachedInfo().Config
	if len(info.Subjects) != 1 || info.SubjectTransform == nil || info.SubjectTransform.Destination != j.root+">" {
		return nil, fmt.Errorf("the stream %s is not as this engine makes journals (subjects %v, for %s>): is the subject prefix another one?",
			name, info.Subjects, j.root)
	}
	j.publish = append(j.publish, strings.TrimSuffix(info.Subjects[0], ">"))
	return s, nil
}

func (j *Journal) createPartition(ctx context.Context, cfg Config, p, n int, id string) (jetstream.Stream, error) {
	intake := natsio.IntakeRoot + nuid.Next() + "." + strconv.Itoa(p) + ".>"
	return j.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: natsio.StreamName(p, n), Description: "Tidemark journal: the only truth", Subjects: []string{intake},
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: intake, Destination: j.root + ">"},
		Retention:        jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1,
		Duplicates: history.DuplicateWindow, AllowDirect: true, AllowAtomicPublish: true, DenyDelete: true,
		Replicas: natsio.Replicas(j.nc, cfg.Replicas),
		Metadata: map[string]string{metaIncarnation: id, metaPartitions: strconv.Itoa(n)},
	})
}

// Partitions is the number of the journal's partitions.
func (j *Journal) Partitions() int { return len(j.streams) }

// Replicas is the number of copies of the journal.
func (j *Journal) Replicas() int { return j.replicas }

// Partition is where the streams of an aggregate id live.
func (j *Journal) Partition(id string) int { return events.Partition(id, len(j.streams)) }

// ID is the journal's whole incarnation, made when the journal was.
func (j *Journal) ID() string { return j.incarnation }

// Incarnation is the last, random part of the incarnation: short enough for
// tokens, long enough to tell two journals apart.
func (j *Journal) Incarnation() string { return j.incarnation[max(0, len(j.incarnation)-8):] }
