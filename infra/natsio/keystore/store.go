// Package keystore keeps the wrapped keys of agents in a stream of its own, so that a
// backup of the journal and of SQL does not have them. It sees no key in the clear.
package keystore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/keys"
)

// StreamName is the stream of the key store.
const StreamName = "TIDEMARK_KEYS"

// root is the root of its subjects, which only engines may publish to.
const root = natsio.IntakeRoot + "keys."

// Store is the stream: of each name the last message counts. Earlier ones are
// overwritten as soon as they are not needed, which a KV bucket does not do.
type Store struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
}

var _ keys.Store = (*Store)(nil)

// Open opens the key store and creates it if it is missing.
func Open(ctx context.Context, nc *nats.Conn) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	s, err := natsio.OpenStream(ctx, js, jetstream.StreamConfig{
		Name: StreamName, Description: "Tidemark: keys of agents, wrapped by the master key", Subjects: []string{root + ">"},
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1, AllowDirect: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open the key store: %w", err)
	}
	return &Store{nc, js, s}, nil
}

// OpenExisting opens the key store; nil where there is none.
func OpenExisting(ctx context.Context, nc *nats.Conn) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the key store: %w", err)
	}
	return &Store{nc, js, s}, nil
}

// Writable fails when the store takes no keys.
func (s *Store) Writable(ctx context.Context) error {
	err := natsio.Writable(ctx, s.nc, root+"writable")
	if natsio.HasCode(err, natsio.CodeSealed) {
		return fmt.Errorf("its stream %s is sealed, which the server cannot undo: restore a backup of it that is not sealed", StreamName)
	}
	return err
}

// Get implements keys.Store.
func (s *Store) Get(ctx context.Context, name string) ([]byte, uint64, error) {
	msg, err := natsio.LastMessage(ctx, s.nc, s.stream, root+name)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read %s from the key store: %w", name, err)
	}
	return msg.Data, msg.Sequence, nil
}

// Last implements keys.Store.
func (s *Store) Last(ctx context.Context) (uint64, error) {
	_, revision, err := s.Get(ctx, ">")
	return revision, err
}

// Put implements keys.Store.
func (s *Store) Put(ctx context.Context, name string, body []byte, after uint64) (uint64, error) {
	ack, err := s.js.PublishMsg(ctx, &nats.Msg{Subject: root + name, Data: body, Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: []string{strconv.FormatUint(after, 10)},
	}})
	if natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
		return 0, keys.ErrChanged
	}
	if err != nil {
		return 0, fmt.Errorf("write %s into the key store: %w", name, err)
	}
	return ack.Sequence, nil
}

// Shred implements keys.Store.
func (s *Store) Shred(ctx context.Context, name string, upTo uint64) error {
	before := upTo + 1
	if upTo == 0 {
		_, last, err := s.Get(ctx, name)
		if err != nil {
			return err
		}
		before = last
	}
	_, err := natsio.EraseMessages(ctx, s.nc, s.stream, root+name, before)
	return err
}

// Names implements keys.Store.
func (s *Store) Names(ctx context.Context, prefix string) ([]string, error) {
	info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(root+prefix+">"))
	if err != nil {
		return nil, fmt.Errorf("list the key store: %w", err)
	}
	names := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		names = append(names, strings.TrimPrefix(subject, root))
	}
	return names, nil
}

// Follow implements keys.Store.
func (s *Store) Follow(ctx context.Context, after uint64, changed func(name string, revision uint64)) error {
	c, err := s.js.OrderedConsumer(ctx, StreamName, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1, HeadersOnly: true, InactiveThreshold: natsio.EphemeralIdleTimeout,
	})
	if err != nil {
		return fmt.Errorf("follow the key store: %w", err)
	}
	cc, err := c.Consume(func(msg jetstream.Msg) {
		if meta, err := msg.Metadata(); err == nil {
			changed(strings.TrimPrefix(msg.Subject(), root), meta.Sequence.Stream)
		}
	}, jetstream.PullHeartbeat(natsio.ReadHeartbeat))
	if err != nil {
		return fmt.Errorf("follow the key store: %w", err)
	}
	context.AfterFunc(ctx, cc.Stop)
	return nil
}
