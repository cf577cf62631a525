package principals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// StreamName is the stream of this package.
const StreamName = "AUDIT"

// Types of the events in AUDIT.
const (
	Added    = "principal.added"
	Changed  = "principal.changed"
	Revoked  = "principal.revoked"
	Rotated  = "principal.rotated"
	Refused  = "access.refused"
	Operated = "operator.acted"
)

// Audit appends to the stream AUDIT and reads it.
type Audit struct {
	js   jetstream.JetStream
	root string // "audit." with the engine's prefix
}

// OpenAudit opens the stream and creates it if it is missing. nc is a connection of the
// engine's account.
func OpenAudit(ctx context.Context, nc *nats.Conn, subjects natsio.Subjects) (*Audit, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	a := &Audit{js: js, root: subjects.Root("audit.")}
	if _, err := natsio.OpenStream(ctx, js, a.config()); err != nil {
		return nil, fmt.Errorf("open the audit: %w", err)
	}
	return a, nil
}

func (a *Audit) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: StreamName, Description: "Who may use the engine, what was refused, and what operators did",
		Subjects: []string{a.root + ">"}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardNew, AllowDirect: true, DenyDelete: true, DenyPurge: true,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: -1,
	}
}

// Entry is an event of the audit with its place in the stream.
type Entry struct {
	events.Event
	Sequence uint64
	Body     []byte // as stored
}

// errMoved means that another one has appended first.
var errMoved = errors.New("the audit has grown")

// last returns the last event of a subject, which may have wildcards; nil = there is
// none.
func (a *Audit) last(ctx context.Context, subject string) (*Entry, error) {
	msg, err := natsio.LeaderGet(ctx, a.js.Conn(), StreamName, natsio.LastBySubject(a.root+subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	return decode(msg.Sequence, msg.Data)
}

func decode(sequence uint64, body []byte) (*Entry, error) {
	ev, err := events.Decode(body)
	if err != nil {
		return nil, fmt.Errorf("audit, event %d: %w", sequence, err)
	}
	return &Entry{Event: ev, Sequence: sequence, Body: body}, nil
}

// appends is how often an append is tried against others.
const appends = 50

// append appends the event that next returns, which is called again when another one has
// appended; next gets the last event of subject, or nil. Without an event nothing is
// appended.
func (a *Audit) append(ctx context.Context, subject string, next func(last *Entry) (*events.Event, error)) (*Entry, error) {
	for range appends {
		head, err := a.last(ctx, ">")
		if err != nil {
			return nil, err
		}
		last := head
		if head != nil { // the first of its subject may be older
			if last, err = a.last(ctx, subject); err != nil {
				return nil, err
			}
		}
		ev, err := next(last)
		if err != nil || ev == nil {
			return last, err
		}
		done, err := a.publish(ctx, subject, head, ev)
		if !errors.Is(err, errMoved) {
			return done, err
		}
	}
	return nil, fmt.Errorf("append to the audit: %w", errMoved)
}

// publish chains an event after head and appends it, if head is still the last.
func (a *Audit) publish(ctx context.Context, subject string, head *Entry, ev *events.Event) (*Entry, error) {
	previous, at := "", uint64(0)
	ev.Version = 1
	if head != nil {
		previous, at, ev.Version = head.Digest, head.Sequence, head.Version+1
	}
	now := time.Now().UTC()
	ev.Timestamp, ev.RecordedAt, ev.CommandID, ev.Schema = now, now, nuid.Next(), events.Schema
	var err error
	if ev.Digest, err = events.Chain(previous, ev); err != nil {
		return nil, err
	}
	body := ev.Encode()
	ack, err := a.js.PublishMsg(ctx, &nats.Msg{Subject: a.root + subject, Data: body},
		jetstream.WithExpectStream(StreamName), jetstream.WithExpectLastSequence(at))
	if natsio.HasCode(err, natsio.CodeWrongLastSequence, natsio.CodeLastSeqInFlight) {
		return nil, errMoved
	}
	if err != nil {
		return nil, fmt.Errorf("append to the audit: %w", err)
	}
	return &Entry{Event: *ev, Sequence: ack.Sequence, Body: body}, nil
}

// Act records what an operator does.
func (a *Audit) Act(ctx context.Context, actor, action string, detail any) error {
	data, err := json.Marshal(struct {
		Action string `json:"action"`
		Detail any    `json:"detail,omitempty"`
	}{action, detail})
	if err != nil {
		return err
	}
	_, err = a.append(ctx, "operator."+actor, func(*Entry) (*events.Event, error) {
		return &events.Event{Type: Operated, Aggregate: "operator", ID: actor, Actor: actor, Data: data}, nil
	})
	return err
}

// Read yields the events after a sequence, oldest first, and returns when it has yielded
// the last one.
func (a *Audit) Read(ctx context.Context, after uint64, yield func(*Entry) error) error {
	s, err := a.js.Stream(ctx, StreamName)
	if err != nil {
		return fmt.Errorf("read the audit: %w", err)
	}
	for seq := max(after+1, s.CachedInfo().State.FirstSeq); seq <= s.CachedInfo().State.LastSeq; seq++ {
		msg, err := natsio.MessageAt(ctx, a.js.Conn(), s, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the audit: %w", err)
		}
		e, err := decode(seq, msg.Data)
		if err == nil {
			err = yield(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Verify checks the digests of all events, and that none is missing. It returns how many
// there are.
func (a *Audit) Verify(ctx context.Context) (n uint64, err error) {
	digest := ""
	err = a.Read(ctx, 0, func(e *Entry) error {
		n++
		want, err := events.Chain(digest, &e.Event)
		switch {
		case err != nil:
			return err
		case e.Version != n:
			return fmt.Errorf("audit: event %d is missing before sequence %d", n, e.Sequence)
		case e.Digest != want:
			return fmt.Errorf("audit, event %d (sequence %d): the digest does not follow from the event and the one before it", n, e.Sequence)
		}
		digest = e.Digest
		return nil
	})
	return n, err
}
