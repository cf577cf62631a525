package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/counted"
)

// Metadata of the journal's streams. The incarnation and the number of partitions
// never change.
const (
	metaIncarnation = "tidemark.incarnation"
	metaPartitions  = "tidemark.partitions"
	metaTrimmed     = "tidemark.trimmed"    // revision up to which events may be trimmed
	metaTrimmedAt   = "tidemark.trimmed_at" // time of the last trim; all trimmed events were stored before
	metaImporting   = "tidemark.importing"  // digest of the export during an import
	metaIntake      = "tidemark.intake"     // intake subject to restore after an import
	metaAccepted    = "tidemark.accepted"   // see Accept
	metaEncrypted   = "tidemark.encrypted"  // id of the key store, since the journal is encrypted
	metaPlaintext   = "tidemark.plaintext"  // revision up to which events may be from before that
)

// Journal is the stream EVENTS, or with several partitions EVENTS_0 …
// EVENTS_{n-1}. Each stream receives events on its own intake subject and stores
// them under events.>, so that the subject of an event does not depend on its
// partition.
type Journal struct {
	nc          *nats.Conn
	js          jetstream.JetStream
	publisher   *natsio.Publisher
	streams     []jetstream.Stream
	publish     []string // intake subject root per partition, with a trailing dot
	root        string   // "events." with the prefix
	incarnation string
	accepted    string         // the last Accept when the journal was opened
	opener      history.Opener // nil = encrypted events stay as they are stored
}

// OpenWith makes the journal decrypt the events that it reads. It must be called
// before the first read.
func (j *Journal) OpenWith(o history.Opener) { j.opener = o }

var _ history.JournalStore = (*Journal)(nil)

// Config configures a new journal. An existing journal keeps its configuration.
type Config struct {
	Subjects   natsio.Subjects
	Partitions int    // cannot change later; 0 = 1
	Replicas   int    // 0 = 3 where the servers can keep them
	importing  string // digest of the export of the calling import
	// Known are the journals that other stores have worked on. Open fails with
	// ErrOtherJournal when the server has another one, and when it has none:
	// a new journal would hide that the events are lost.
	Known []Known
	// Accept opens, or creates, the journal of the server in spite of Known.
	Accept bool
}

// Known is a journal that a store has worked on. A weak one comes from a store
// that clients can write to: it only prevents that a new journal is created.
type Known struct {
	Store, Incarnation string
	Weak               bool
}

// ErrOtherJournal means that the server does not have the journal that another
// store knows.
var ErrOtherJournal = errors.New("the journal is missing or another one")

// checkKnown compares the incarnation of the server's journal, "" = none, with
// the journals that other stores know.
func (c *Config) checkKnown(incarnation string) error {
	if c.Accept {
		return nil
	}
	for _, k := range c.Known {
		switch {
		case k.Incarnation == "" || strings.EqualFold(k.Incarnation, incarnation):
		case incarnation == "":
			return fmt.Errorf("%w: the NATS server has no journal, but %s knows journal %s. Nothing was created. "+
				"Restore that journal (the directory of the server, or its streams EVENTS), or continue with a new, empty journal: engine serve --accept-journal",
				ErrOtherJournal, k.Store, k.Incarnation)
		case !k.Weak:
			return fmt.Errorf("%w: the NATS server has journal %s, but %s knows journal %s. "+
				"Use the stores that belong together, or make the server's journal the one of all: engine serve --accept-journal",
				ErrOtherJournal, strings.ToLower(incarnation), k.Store, k.Incarnation)
		}
	}
	return nil
}

// known reports whether another store has worked on a journal.
func (c *Config) known() bool {
	return slices.ContainsFunc(c.Known, func(k Known) bool { return k.Incarnation != "" })
}

// Open opens the journal and creates it if it does not exist. It fails if
// cfg.Partitions is set and differs from the existing number of partitions.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Journal, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	publisher, err := natsio.NewPublisher(nc)
	if err != nil {
		return nil, err
	}
	j := &Journal{nc: nc, js: js, publisher: publisher, root: cfg.Subjects.Root("events.")}
	want := max(cfg.Partitions, 1)
	found, err := j.find(ctx)
	if err != nil {
		return nil, err
	}
	if err := cfg.checkKnown(found.incarnation); err != nil {
		return nil, err
	}
	if found.partitions != 0 && cfg.Partitions != 0 && found.partitions != want {
		return nil, fmt.Errorf("the journal has %s, which cannot change to %d: "+
			"start with --partitions %d or with a new data directory", counted.Of(found.partitions, "partition"), want, found.partitions)
	}
	if found.partitions != 0 {
		want = found.partitions
	}
	if len(found.missing) > 0 && (found.events > 0 || cfg.known()) {
		return nil, fmt.Errorf("%w: streams of the journal are missing (of %d: %s). Nothing was created. Restore them, "+
			"or delete the other streams of the journal and start with --accept-journal", ErrOtherJournal, want, strings.Join(found.missing, ", "))
	}
	id := ulid.Make().String()
	if found.incarnation != "" {
		id = found.incarnation
	}
	for p := range want {
		s, err := j.openPartition(ctx, cfg, p, want, id)
		if err != nil {
			return nil, err
		}
		meta := s.CachedInfo().Config.Metadata
		if err := checkImporting(meta[metaImporting], cfg.importing); err != nil {
			return nil, err
		}
		if p == 0 {
			id, j.accepted = meta[metaIncarnation], meta[metaAccepted]
		} else if meta[metaIncarnation] != id {
			return nil, fmt.Errorf("streams %s and %s belong to different journals: remove the one that does not belong here", natsio.StreamName(p, want), natsio.StreamName(0, want))
		}
		j.streams = append(j.streams, s)
	}
	j.incarnation = strings.ToLower(id)
	return j, nil
}

// OpenExisting opens a journal for reading. It fails if there is none.
func OpenExisting(ctx context.Context, nc *nats.Conn, s natsio.Subjects) (*Journal, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	found, err := (&Journal{js: js}).find(ctx)
	if err != nil {
		return nil, err
	}
	if found.partitions == 0 {
		return nil, errors.New("there is no journal on this server that this client may read: start an engine first, or check the server address and the credentials")
	}
	return Open(ctx, nc, Config{Subjects: s})
}

// existing is what a server has of a journal.
type existing struct {
	partitions  int // 0 = there is no journal
	incarnation string
	missing     []string // streams
	events      uint64
}

// findTimeout bounds the look for the streams of a journal. It is often the first request to a
// server that has just started, which may lose it.
const findTimeout = 10 * time.Second

// find looks for the streams of a journal. A start that was interrupted may have
// created only some of them.
func (j *Journal) find(ctx context.Context) (e existing, err error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	present := map[string]bool{}
	err = natsio.Attempt(ctx, func(ctx context.Context) error {
		list := j.js.StreamNames(ctx)
		for name := range list.Name() {
			if number, ok := strings.CutPrefix(name, "EVENTS"); ok && (number == "" || isPartition(number)) {
				present[name] = true
			}
		}
		return list.Err()
	})
	if err != nil {
		return e, fmt.Errorf("look up the journal's streams: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(present)) {
		s, err := natsio.Find(ctx, j.js, name)
		if err != nil {
			return e, fmt.Errorf("look up the journal stream %s: %w", name, err)
		}
		info := s.CachedInfo()
		n, err := strconv.Atoi(info.Config.Metadata[metaPartitions])
		if err != nil || n < 1 {
			return e, fmt.Errorf("the stream %s is not a Tidemark journal (its metadata lacks %s): remove or rename it", name, metaPartitions)
		}
		if e.partitions == 0 {
			e.partitions, e.incarnation = n, info.Config.Metadata[metaIncarnation]
		}
		e.events += info.State.LastSeq
	}
	for p := range e.partitions {
		if name := natsio.StreamName(p, e.partitions); !present[name] {
			e.missing = append(e.missing, name)
		}
	}
	return e, nil
}

// isPartition reports whether text is "_" and a number.
func isPartition(text string) bool {
	number, ok := strings.CutPrefix(text, "_")
	_, err := strconv.ParseUint(number, 10, 16)
	return ok && err == nil
}

func (j *Journal) openPartition(ctx context.Context, cfg Config, p, n int, id string) (jetstream.Stream, error) {
	name := natsio.StreamName(p, n)
	s, err := natsio.OpenStream(ctx, j.js, j.partitionConfig(cfg, p, n, id))
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	info := s.CachedInfo().Config
	if len(info.Subjects) != 1 || info.SubjectTransform == nil || info.SubjectTransform.Destination != j.root+">" {
		return nil, fmt.Errorf("the stream %s has the wrong subjects (%v, expected a transform to %s>): check subject_prefix; "+
			"engines with different prefixes need a NATS account each",
			name, info.Subjects, j.root)
	}
	j.publish = append(j.publish, strings.TrimSuffix(info.Subjects[0], ">"))
	return s, nil
}

func (j *Journal) partitionConfig(cfg Config, p, n int, id string) jetstream.StreamConfig {
	intake := natsio.IntakeRoot + nuid.Next() + "." + strconv.Itoa(p) + ".>"
	return jetstream.StreamConfig{
		Name: natsio.StreamName(p, n), Description: "Tidemark journal: all events", Subjects: []string{intake},
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: intake, Destination: j.root + ">"},
		Retention:        jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1,
		Duplicates: history.DuplicateWindow, AllowDirect: true, AllowAtomicPublish: true, DenyDelete: true,
		Replicas: cfg.Replicas,
		Metadata: map[string]string{metaIncarnation: id, metaPartitions: strconv.Itoa(n)},
	}
}

// Partitions returns the number of partitions.
func (j *Journal) Partitions() int { return len(j.streams) }

// Replicas returns the number of replicas of each stream, as of the last time that
// the configuration was read.
func (j *Journal) Replicas() int { return j.streams[0].CachedInfo().Config.Replicas }

// Partition returns the partition of an aggregate id.
func (j *Journal) Partition(id string) int { return events.Partition(id, len(j.streams)) }

// ID returns the full incarnation, a ULID from the creation of the journal.
func (j *Journal) ID() string { return j.incarnation }

// Incarnation returns the last 8 characters of ID, which are random: short enough
// for tokens, long enough to distinguish journals.
func (j *Journal) Incarnation() string { return j.incarnation[max(0, len(j.incarnation)-8):] }
