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
	// defaultLanes is the number of commands that run concurrently. The server
	// assigns commands to lanes by aggregate when it stores them. Each lane is a
	// consumer that delivers one message at a time, to one engine. This keeps
	// the order of an aggregate's commands across engines and redeliveries.
	defaultLanes = 32
	metaLanes    = "tidemark.lanes" // fixed when the stream is created

	outcomeAge      = 24 * time.Hour // retention of outcomes (contract, section 2)
	duplicateWindow = 2 * time.Minute
)

type streams struct {
	commands, outcomes, deadLetters jetstream.Stream
	lanes                           int
	enqueueRoot, laneRoot           string // subject prefixes
	outcomeRoot, deadLetterRoot     string
}

// openStreams opens the three streams and creates missing ones. It fails if a
// stream of that name has other subjects.
func openStreams(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, subjects natsio.Subjects) (s streams, err error) {
	s.enqueueRoot, s.laneRoot = subjects.Root("enqueue."), subjects.Root("lanes.")
	s.outcomeRoot, s.deadLetterRoot = subjects.Root("outcomes."), subjects.Root("deadletters.")
	replicas := natsio.Replicas(nc, 0)
	if s.commands, err = openStream(ctx, js, commandsConfig(s, replicas)); err != nil {
		return s, err
	}
	s.lanes, err = strconv.Atoi(s.commands.CachedInfo().Config.Metadata[metaLanes])
	if err != nil || s.lanes < 1 {
		return s, fmt.Errorf("the stream %s is not Tidemark's: its metadata has no %s; remove it or use another account", CommandsStream, metaLanes)
	}
	if s.outcomes, err = openStream(ctx, js, outcomesConfig(s, replicas)); err != nil {
		return s, err
	}
	s.deadLetters, err = openStream(ctx, js, deadLettersConfig(s, replicas))
	return s, err
}

func openStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, cfg)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another engine created it
			s, err = js.Stream(ctx, cfg.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", cfg.Name, err)
	}
	if got := s.CachedInfo().Config.Subjects; !slices.Equal(got, cfg.Subjects) {
		return nil, fmt.Errorf("stream %s has the subjects %v, this engine needs %v: does it belong to an engine with another subject_prefix?",
			cfg.Name, got, cfg.Subjects)
	}
	return s, nil
}

// commandsConfig stores enqueue.<aggregate>.<id>.<verb> as
// lanes.<lane>.<aggregate>.<id>.<verb>. Other subjects stay as they are.
func commandsConfig(s streams, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: CommandsStream, Description: "Tidemark: commands that wait for execution",
		Subjects: []string{s.enqueueRoot + ">"}, Retention: jetstream.WorkQueuePolicy,
		Storage: jetstream.FileStorage, Replicas: replicas, Duplicates: duplicateWindow,
		SubjectTransform: &jetstream.SubjectTransformConfig{
			Source:      s.enqueueRoot + "*.*.*",
			Destination: fmt.Sprintf("%s{{partition(%d,1,2)}}.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}", s.laneRoot, defaultLanes),
		},
		Metadata: map[string]string{metaLanes: strconv.Itoa(defaultLanes)},
	}
}

// outcomesConfig does not sync outcomes to disk on a single node. A power
// failure may lose the last ones; sending the command id again restores them.
func outcomesConfig(s streams, replicas int) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: OutcomesStream, Description: "Tidemark: receipts and errors of enqueued commands",
		Subjects: []string{s.outcomeRoot + ">"}, MaxAge: outcomeAge, MaxMsgsPerSubject: 1,
		Storage: jetstream.FileStorage, Replicas: replicas, Duplicates: duplicateWindow, AllowDirect: true,
	}
	if replicas == 1 {
		cfg.PersistMode = jetstream.AsyncPersistMode
	}
	return cfg
}

func deadLettersConfig(s streams, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: DeadLettersStream, Description: "Tidemark: messages that could not be processed (engine dlq)",
		Subjects: []string{s.deadLetterRoot + ">"}, Storage: jetstream.FileStorage, Replicas: replicas,
		Duplicates: duplicateWindow, AllowDirect: true,
	}
}
