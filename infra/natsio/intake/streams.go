package intake

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// The streams of this package.
const (
	CommandsStream    = "COMMANDS"
	OutcomesStream    = "OUTCOMES"
	DeadLettersStream = "DEAD_LETTERS"
)

const (
	// defaultLanes is the number of consumers. The server assigns commands to lanes
	// by aggregate when it stores them.
	defaultLanes = 32
	metaLanes    = "tidemark.lanes" // fixed when the stream is created

	outcomeAge      = 24 * time.Hour // retention of outcomes (contract, section 2)
	duplicateWindow = 2 * time.Minute
	// commandBytes is the room for commands that wait; more are refused.
	commandBytes = 4 << 30
)

type streams struct {
	commands, outcomes, deadLetters jetstream.Stream
	lanes                           int
	enqueueRoot, laneRoot           string // subject prefixes
	outcomeRoot, deadLetterRoot     string
	accountRoot                     string // of the subjects of accounts; empty = clients share the engine's
	dev                             string // account of clients without credentials
}

// openStreams opens the three streams and creates missing ones. It fails if a
// stream of that name has other subjects.
func openStreams(ctx context.Context, js jetstream.JetStream, cfg *Config) (s streams, err error) {
	subjects, deadLetterAge := cfg.Subjects, cfg.DeadLetterAge
	if cfg.Identify != nil {
		s.accountRoot, s.dev = subjects.Root("tm."), cfg.Dev
	}
	s.enqueueRoot, s.laneRoot = subjects.Root("enqueue."), subjects.Root("lanes.")
	s.outcomeRoot, s.deadLetterRoot = subjects.Root("outcomes."), subjects.Root("deadletters.")
	if s.deadLetters, err = openDeadLetters(ctx, js, deadLettersConfig(s, deadLetterAge)); err != nil {
		return s, err
	}
	if s.commands, err = openCommands(ctx, js, commandsConfig(s)); err != nil {
		return s, err
	}
	s.lanes, err = strconv.Atoi(s.commands.CachedInfo().Config.Metadata[metaLanes])
	if err != nil || s.lanes < 1 {
		return s, fmt.Errorf("the stream %s is not Tidemark's: its metadata has no %s; remove it or use another account", CommandsStream, metaLanes)
	}
	if err = change(ctx, js, new(outcomesConfig(s)), func(is *jetstream.StreamConfig) bool { return false }); err != nil {
		return s, err
	}
	s.outcomes, err = openStream(ctx, js, outcomesConfig(s))
	return s, err
}

// change changes the configuration of an existing stream with the wanted
// subjects, or with only the first of them: clients have accounts now, or had none before.
func change(ctx context.Context, js jetstream.JetStream, want *jetstream.StreamConfig, differs func(*jetstream.StreamConfig) bool) error {
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open stream %s: %w", want.Name, err)
	}
	cfg := s.CachedInfo().Config
	same := slices.Equal(cfg.Subjects, want.Subjects)
	if !same && (len(cfg.Subjects) == 0 || cfg.Subjects[0] != want.Subjects[0] || max(len(cfg.Subjects), len(want.Subjects)) > 2) {
		return nil // another engine's
	}
	if !differs(&cfg) && same {
		return nil
	}
	cfg.Subjects = want.Subjects
	_, err = js.UpdateStream(ctx, cfg)
	if err != nil && cfg.MaxBytes > s.CachedInfo().Config.MaxBytes { // the account may have no room for it
		cfg.MaxBytes = s.CachedInfo().Config.MaxBytes
		_, err = js.UpdateStream(ctx, cfg)
	}
	if err != nil {
		return fmt.Errorf("change stream %s: %w", want.Name, err)
	}
	return nil
}

// openDeadLetters changes the retention of an existing stream to the configured.
func openDeadLetters(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	if err := change(ctx, js, &want, func(is *jetstream.StreamConfig) bool {
		differs := is.MaxAge != want.MaxAge
		is.MaxAge, is.Duplicates = want.MaxAge, want.Duplicates
		return differs
	}); err != nil {
		return nil, err
	}
	return openStream(ctx, js, want)
}

// openCommands changes a stream that an earlier build created.
func openCommands(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	if err := change(ctx, js, &want, func(is *jetstream.StreamConfig) bool {
		differs := !is.AllowDirect || is.Duplicates != 0 || is.Discard != want.Discard
		is.AllowDirect, is.Duplicates, is.Sources, is.Discard = want.AllowDirect, want.Duplicates, want.Sources, want.Discard
		if differs && is.MaxBytes <= 0 {
			is.MaxBytes = want.MaxBytes
		}
		return differs
	}); err != nil {
		return nil, err
	}
	return openStream(ctx, js, want)
}

// order returns the name of a command's aggregate and the root of its subjects.
// The order of a message that is no command of an aggregate does not matter: it
// has a name of its own and no root.
func (s *streams) order(stored string, seq uint64) (name, root string) {
	if lane, ok := strings.CutPrefix(stored, s.laneRoot); ok {
		tokens := strings.Split(lane, ".")
		if (len(tokens) == 4 || len(tokens) == 5 && s.accountRoot != "") && domain.CheckID("aggregate", tokens[1]) == nil && domain.CheckID("id", tokens[2]) == nil {
			name = tokens[1] + "." + tokens[2]
			return name, s.laneRoot + "*." + name + "." // its earlier commands may be in another lane
		}
	}
	return "#" + strconv.FormatUint(seq, 10), ""
}

// firstTime bounds one question for the first command of an aggregate.
const firstTime = 2 * time.Second

// first returns the sequence of the first command of an aggregate from a sequence
// on, which is seq or before; a larger number means that seq is not there. Any
// replica may answer (ADR-31): one that has seq has received all before it, so
// what it does not have of those was removed.
func (s *streams) first(ctx context.Context, nc *nats.Conn, root string, from, seq uint64) (uint64, error) {
	if root == "" {
		return seq, nil
	}
	ctx, cancel := context.WithTimeout(ctx, firstTime)
	defer cancel()
	req := `{"seq":` + strconv.FormatUint(from, 10) + `,"next_by_subj":"` + root + `>"}`
	reply, err := nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+CommandsStream, []byte(req))
	if err != nil {
		return 0, err
	}
	if at := reply.Header.Get("Nats-Sequence"); at != "" {
		return strconv.ParseUint(at, 10, 64)
	}
	if status := reply.Header.Get("Status"); status != "404" {
		return 0, fmt.Errorf("read stream %s: status %q %s", CommandsStream, status, reply.Header.Get("Description"))
	}
	return math.MaxUint64, nil
}

func openStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := natsio.OpenStream(ctx, js, cfg)
	if err != nil {
		return nil, err
	}
	if got := s.CachedInfo().Config.Subjects; !slices.Equal(got, cfg.Subjects) {
		return nil, fmt.Errorf("stream %s has the subjects %v, this engine needs %v: does it belong to an engine with another subject_prefix?",
			cfg.Name, got, cfg.Subjects)
	}
	return s, nil
}

// commandsConfig stores enqueue.<aggregate>.<id>.<verb> as
// lanes.<lane>.<aggregate>.<id>.<verb>. Other subjects stay as they are.
func commandsConfig(s streams) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: CommandsStream, Description: "Tidemark: commands that wait for execution",
		Subjects: s.commandSubjects(), Retention: jetstream.WorkQueuePolicy,
		Storage: jetstream.FileStorage, AllowDirect: true,
		// A full stream refuses commands; it drops none.
		MaxBytes: commandBytes, Discard: jetstream.DiscardNew,
		// Sequences are part of command ids, so they continue beyond those of a
		// stream of this name that was lost.
		FirstSeq: uint64(time.Now().UnixMicro()),
		// Clients' ids must not meet in a duplicate window, which spans all
		// aggregates. Only a stream with a source may be without one
		// (nats-server, checkStreamCfg); this source never has a message.
		Duplicates: 0, Sources: []*jetstream.StreamSource{{Name: DeadLettersStream, FilterSubject: natsio.IntakeRoot + "none"}},
		SubjectTransform: &jetstream.SubjectTransformConfig{
			Source:      s.enqueueRoot + "*.*.*",
			Destination: fmt.Sprintf("%s{{partition(%d,1,2)}}.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}", s.laneRoot, defaultLanes),
		},
		Metadata: map[string]string{metaLanes: strconv.Itoa(defaultLanes)},
	}
}

// outcomesConfig stores each outcome before its command is acknowledged: nothing
// would make it again. A stream that an earlier build created keeps its mode.
func outcomesConfig(s streams) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: OutcomesStream, Description: "Tidemark: receipts and errors of enqueued commands",
		Subjects: s.outcomeSubjects(), MaxAge: outcomeAge, MaxMsgsPerSubject: 1,
		Storage: jetstream.FileStorage, Duplicates: duplicateWindow, AllowDirect: true,
	}
}

func deadLettersConfig(s streams, age time.Duration) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: DeadLettersStream, Description: "Tidemark: messages that could not be processed (engine dlq)",
		Subjects: []string{s.deadLetterRoot + ">"}, Storage: jetstream.FileStorage,
		Duplicates: duplicateWindow, AllowDirect: true, MaxAge: age,
	}
	if age > 0 {
		cfg.Duplicates = min(duplicateWindow, age)
	}
	return cfg
}
