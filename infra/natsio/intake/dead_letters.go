package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/trace"
)

// DeadLetter is a message that could not be processed.
type DeadLetter struct {
	Seq       uint64    `json:"seq"`    // in DEAD_LETTERS
	Time      time.Time `json:"time"`   // when it became a dead letter
	Source    string    `json:"source"` // "commands", "reactor.<name>" or "consumer.<stream>.<name>"
	Subject   string    `json:"subject"`
	Reason    string    `json:"reason"`
	CommandID string    `json:"command_id,omitempty"`
	Stream    string    `json:"stream"` // where the message was stored, at Sequence
	Sequence  uint64    `json:"sequence"`
	Stored    string    `json:"stored"` // when it was stored there
	Body      []byte    `json:"-"`

	trace   trace.Context
	account string // of the principal that sent it; empty = any other client
}

// DeadLetters reads, retries and drops the dead letters of a server. It needs
// no running engine.
type DeadLetters struct {
	js          jetstream.JetStream
	stream      jetstream.Stream
	root        string
	enqueueRoot string
	laneRoot    string
	taskRoot    string // of the feed of tasks
}

// ErrNoDeadLetter is returned for a sequence that has no dead letter.
var ErrNoDeadLetter = errors.New("there is no such dead letter")

// OpenDeadLetters fails if no engine has created the stream yet.
func OpenDeadLetters(ctx context.Context, nc *nats.Conn, subjects natsio.Subjects) (*DeadLetters, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, DeadLettersStream)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", DeadLettersStream, err)
	}
	return &DeadLetters{js: js, stream: s, root: subjects.Root("deadletters."), enqueueRoot: subjects.Root("enqueue."), laneRoot: subjects.Root("lanes."), taskRoot: subjects.Root("tasks.")}, nil
}

// Conn is the connection that reads them.
func (d *DeadLetters) Conn() *nats.Conn { return d.js.Conn() }

// All returns the dead letters, oldest first.
func (d *DeadLetters) All(ctx context.Context) ([]DeadLetter, error) {
	var all []DeadLetter
	err := d.Each(ctx, func(l *DeadLetter) error { all = append(all, *l); return nil })
	return all, err
}

// Each calls f with the dead letters, oldest first.
func (d *DeadLetters) Each(ctx context.Context, f func(*DeadLetter) error) error {
	for after := uint64(0); ; {
		some, more, err := d.Page(ctx, after, 500)
		if err != nil {
			return err
		}
		for i := range some {
			if err := f(&some[i]); err != nil {
				return err
			}
			after = some[i].Seq
		}
		if !more {
			return nil
		}
	}
}

// Page returns at most limit dead letters behind one, oldest first, and whether there are
// more.
func (d *DeadLetters) Page(ctx context.Context, after uint64, limit int) (some []DeadLetter, more bool, err error) {
	q := natsio.PageQuery{Subject: d.root + ">", FromSeq: after + 1, Batch: limit}
	msgs, more, err := q.Page(ctx, d.js.Conn(), DeadLettersStream)
	if err != nil {
		return nil, false, fmt.Errorf("read the dead letters: %w", err)
	}
	for _, msg := range msgs {
		some = append(some, decodeDeadLetter(msg))
	}
	return some, more, nil
}

// Count is the number of dead letters.
func (d *DeadLetters) Count(ctx context.Context) (uint64, error) {
	info, err := d.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("count the dead letters: %w", err)
	}
	return info.State.Msgs, nil
}

// Get returns one dead letter, or ErrNoDeadLetter.
func (d *DeadLetters) Get(ctx context.Context, seq uint64) (DeadLetter, error) {
	msg, err := d.stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, fmt.Errorf("%w: %d", ErrNoDeadLetter, seq)
	}
	if err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter %d: %w", seq, err)
	}
	return decodeDeadLetter(msg), nil
}

func decodeDeadLetter(msg *jetstream.RawStreamMsg) DeadLetter {
	h := msg.Header
	seq, _ := strconv.ParseUint(h.Get(headerSequence), 10, 64) // 0 if the message had none
	return DeadLetter{
		Seq: msg.Sequence, Time: msg.Time.UTC(), Source: h.Get(headerSource), Subject: h.Get(headerSubject),
		Reason: h.Get(headerReason), CommandID: h.Get(headerCommandID), Stream: h.Get(headerStream),
		Sequence: seq, Stored: h.Get(headerTime), Body: msg.Data,
		account: h.Get(headerAccount),
		trace:   trace.Context{Parent: header(h, metaTraceParent), State: header(h, metaTraceState)},
	}
}

// Retry enqueues the command again with the same command id and removes the
// dead letter. For an event it enqueues a command that runs the reactor again.
// After a failure Retry may be repeated: the command takes effect once.
func (d *DeadLetters) Retry(ctx context.Context, letter *DeadLetter) error {
	if _, err := d.Get(ctx, letter.Seq); err != nil {
		return err
	}
	msg := &nats.Msg{Subject: letter.Subject, Data: letter.Body, Header: nats.Header{}}
	if name, ok := strings.CutPrefix(letter.Source, sourceReactors); ok {
		// The journal accepts no event twice.
		msg.Subject = d.enqueueRoot + reactorAggregate + "." + name + "." + reactVerb
		body, err := json.Marshal(reactBody{Stream: letter.Stream, Revision: letter.Sequence})
		if err != nil {
			return err
		}
		msg.Data = body
	}
	if letter.account != "" { // it takes effect as its sender's
		aggregate, id, verb, err := commands.ParseSubject(strings.TrimPrefix(letter.Subject, d.enqueueRoot))
		if err != nil {
			return err
		}
		msg.Subject = laneSubject(d.laneRoot, defaultLanes, false, aggregate, id, verb, letter.account)
	}
	if letter.CommandID != "" && domain.CheckID("command id", letter.CommandID) == nil {
		msg.Header[nats.MsgIdHdr] = []string{letter.CommandID}
	}
	if letter.Stored != "" {
		msg.Header[headerTime] = []string{letter.Stored}
	}
	if letter.trace.Parent != "" {
		msg.Header[metaTraceParent], msg.Header[metaTraceState] = []string{letter.trace.Parent}, []string{letter.trace.State}
	}
	stream := CommandsStream
	if strings.HasPrefix(letter.Source, sourceConsumers) { // the workers get the task again
		stream = letter.Stream
	}
	if _, err := d.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(stream)); err != nil {
		return fmt.Errorf("enqueue dead letter %d again: %w", letter.Seq, err)
	}
	return d.Drop(ctx, letter.Seq)
}

// Drop deletes a dead letter.
func (d *DeadLetters) Drop(ctx context.Context, seq uint64) error {
	err := d.stream.DeleteMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("%w: %d", ErrNoDeadLetter, seq)
	}
	if err != nil {
		return fmt.Errorf("drop dead letter %d: %w", seq, err)
	}
	return nil
}
