package principals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/identity"
	"github.com/tidemark-engine/tidemark/internal/wait"
)

var (
	// ErrExists is returned for the name of a principal that is there.
	ErrExists = errors.New("the principal exists")
	// ErrUnknown is returned for a name without a principal, or with a revoked one.
	ErrUnknown = errors.New("there is no such principal")
)

// Store is all principals.
type Store struct {
	*Audit
	log *slog.Logger

	mu      sync.RWMutex
	known   map[string]state
	byKey   map[string]string // names by Principal.Account
	byName  map[string]string // names by the account in a configuration file; empty = of several
	changed func()
}

// state is a principal as of a sequence of AUDIT.
type state struct {
	Principal
	sequence uint64
	set      *grants.Set
}

// Open opens the store and reads all principals. changed, if set, is called after each
// change that Follow sees.
func Open(ctx context.Context, nc *nats.Conn, subjects natsio.Subjects, changed func(), log *slog.Logger) (*Store, error) {
	a, err := OpenAudit(ctx, nc, subjects)
	if err != nil {
		return nil, err
	}
	if changed == nil {
		changed = func() {}
	}
	s := &Store{Audit: a, log: log, known: map[string]state{}, changed: changed}
	return s, s.load(ctx)
}

// load reads the last event of each principal from the leader of the stream.
func (s *Store) load(ctx context.Context) error {
	stream, err := s.js.Stream(ctx, StreamName)
	if err != nil {
		return fmt.Errorf("read the principals: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(s.root+"principal.*"))
	if err != nil {
		return fmt.Errorf("read the principals: %w", err)
	}
	for subject := range info.State.Subjects {
		e, err := s.last(ctx, strings.TrimPrefix(subject, s.root))
		if err == nil && e != nil {
			err = s.take(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Refresh reads all principals from the leader of the stream, as Follow may be behind it.
func (s *Store) Refresh(ctx context.Context) error { return s.load(ctx) }

// take keeps the principal of an event, unless a newer one is known. A principal that
// this build cannot read has no grants.
func (s *Store) take(e *Entry) error {
	at := state{sequence: e.Sequence}
	err := json.Unmarshal(e.State, &at.Principal)
	if err == nil {
		at.set, err = at.Set()
	}
	if err != nil {
		at.Principal, at.set = Principal{Name: e.ID, Revoked: true}, nil
		err = fmt.Errorf("the principal %s, audit event %d: %w", e.ID, e.Version, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[e.ID].sequence < e.Sequence {
		s.known[e.ID] = at
		s.index()
	}
	return err
}

// index finds the active principals of accounts.
func (s *Store) index() {
	s.byKey, s.byName = map[string]string{}, map[string]string{}
	for name, p := range s.known {
		if p.Revoked {
			continue
		}
		if p.Account != "" {
			s.byKey[p.Account] = name
		}
		account := identity.ConfigAccount(name)
		if _, taken := s.byName[account]; taken {
			name = "" // none of them
		}
		s.byName[account] = name
	}
}

// Caller returns who an account of an external server belongs to: its public key in
// operator mode, else its name in the configuration file. nil = no principal.
func (s *Store) Caller(account string) *identity.Caller {
	s.mu.RLock()
	defer s.mu.RUnlock()
	name := s.byName[account]
	if nkeys.IsValidPublicAccountKey(account) {
		name = s.byKey[account]
	}
	if name == "" {
		return nil
	}
	return &identity.Caller{Principal: name, Account: account}
}

// Follow applies changes by other processes until ctx ends.
func (s *Store) Follow(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.follow(ctx); err != nil && ctx.Err() == nil {
			s.log.Debug("the watch of the principals is restarted", "error", err)
			_ = wait.Sleep(ctx, time.Second)
		}
	}
}

func (s *Store) follow(ctx context.Context) error {
	consumer, err := s.js.OrderedConsumer(ctx, StreamName, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{s.root + "principal.*"}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer func() {
		stop()
		messages.Stop()
	}()
	for {
		msg, err := messages.Next()
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		e, err := decode(meta.Sequence.Stream, msg.Data())
		if err == nil {
			err = s.take(e)
		}
		if err != nil {
			s.log.Error("a principal cannot be read: it has no grants", "error", err)
		}
		s.changed()
	}
}

// Grants are the grants in force of a principal; nil = it is unknown or revoked.
func (s *Store) Grants(name string) *grants.Set {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[name].set
}

// Get returns a principal, also a revoked one; false = it is unknown.
func (s *Store) Get(name string) (Principal, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.known[name]
	return p.Principal, ok
}

// All returns all principals by name, revoked ones too.
func (s *Store) All() []Principal {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]Principal, 0, len(s.known))
	for name, p := range s.known {
		if name != identity.Operator {
			all = append(all, p.Principal)
		}
	}
	slices.SortFunc(all, func(a, b Principal) int { return strings.Compare(a.Name, b.Name) })
	return all
}
