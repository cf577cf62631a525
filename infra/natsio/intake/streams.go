package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// The streams of this package.
const (
	CommandsStream    = "COMMANDS"
	OutcomesStream    = "OUTCOMES"
	DeadLettersStream = "DEAD_LETTERS"
)

const (
	// defaultLanes is how many commands may be under way at once. The server
	// sorts them by aggregate into lanes as it stores them. Each lane is a
	// consumer that gives one message at a time, to one engine: that alone keeps
	// the order of an aggregate over several engines and any redelivery.
	defaultLanes = 32
	metaLanes    = "tidemark.lanes" // fixed when the stream is made

	outcomeAge      = 24 * time.Hour // how long an outcome can be asked for (contract, section 2)
	duplicateWindow = 2 * time.Minute
)

type streams struct {
	commands, outcomes, letters jetstream.Stream
	lanes                       int
	enqueueRoot, laneRoot       string
	outcomeRoot, letterRoot     string
}

// openStreams opens the three streams, making those that are not there. It
// fails where a stream of that name serves other subjects.
func openStreams(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, subjects natsio.Subjects) (s streams, err error) {
	s.enqueueRoot, s.laneRoot = subjects.Root("enqueue."), subjects.Root("lanes.")
	s.outcomeRoot, s.letterRoot = subjects.Root("outcomes."), subjects.Root("deadletters.")
	replicas := natsio.Replicas(nc, 0)
	if s.commands, err = openStream(ctx, js, commandsConfig(s, replicas)); err != nil {
		return s, err
	}
	s.lanes, err = strconv.Atoi(s.commands.CachedInfo().Config.Metadata[metaLanes])
	if err != nil || s.lanes < 1 {
		return s, fmt.Errorf("a stream %s exists that is not Tidemark's (no %s in its metadata)", CommandsStream, metaLanes)
	}
	if s.outcomes, err = openStream(ctx, js, outcomesConfig(s, replicas)); err != nil {
		return s, err
	}
	s.letters, err = openStream(ctx, js, lettersConfig(s, replicas))
	return s, err
}

func openStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, cfg)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another engine was first
			s, err = js.Stream(ctx, cfg.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the stream %s: %w", cfg.Name, err)
	}
	if got := s.CachedInfo().Config.Subjects; !slices.Equal(got, cfg.Subjects) {
		return nil, fmt.Errorf("the stream %s takes %v, this engine needs %v: is it another engine's (subject_prefix)?",
			cfg.Name, got, cfg.Subjects)
	}
	return s, nil
}

// commandsConfig stores enqueue.<aggregate>.<id>.<verb> as
// lanes.<lane>.<aggregate>.<id>.<verb>. What is no command keeps its subject.
func commandsConfig(s streams, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: CommandsStream, Description: "Tidemark: commands that wait to be carried out",
		Subjects: []string{s.enqueueRoot + ">"}, Retention: jetstream.WorkQueuePolicy,
		Storage: jetstream.FileStorage, Replicas: replicas, Duplicates: duplicateWindow,
		SubjectTransform: &jetstream.SubjectTransformConfig{
			Source:      s.enqueueRoot + "*.*.*",
			Destination: fmt.Sprintf("%s{{partition(%d,1,2)}}.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}", s.laneRoot, defaultLanes),
		},
		Metadata: map[string]string{metaLanes: strconv.Itoa(defaultLanes)},
	}
}

// outcomesConfig: on one node outcomes do not wait for the disk. A power cut
// may take the last ones; the same command id sent again brings them back.
func outcomesConfig(s streams, replicas int) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: OutcomesStream, Description: "Tidemark: what came of enqueued commands",
		Subjects: []string{s.outcomeRoot + ">"}, MaxAge: outcomeAge, MaxMsgsPerSubject: 1,
		Storage: jetstream.FileStorage, Replicas: replicas, Duplicates: duplicateWindow, AllowDirect: true,
	}
	if replicas == 1 {
		cfg.PersistMode = jetstream.AsyncPersistMode
	}
	return cfg
}

func lettersConfig(s streams, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: DeadLettersStream, Description: "Tidemark: messages that could not be carried out (engine dlq)",
		Subjects: []string{s.letterRoot + ">"}, Storage: jetstream.FileStorage, Replicas: replicas,
		Duplicates: duplicateWindow, AllowDirect: true,
	}
}
