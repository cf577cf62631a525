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
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Letter is a message that could not be carried out.
type Letter struct {
	Seq       uint64    `json:"seq"`    // in DEAD_LETTERS
	Time      time.Time `json:"time"`   // when it was set aside
	Source    string    `json:"source"` // "commands", or "reactor.<name>"
	Subject   string    `json:"subject"`
	Reason    string    `json:"reason"`
	CommandID string    `json:"command_id,omitempty"`
	Stream    string    `json:"stream"` // that it was stored in first, at Sequence
	Sequence  uint64    `json:"sequence"`
	Stored    string    `json:"stored"` // when that was
	Body      []byte    `json:"-"`

	trace, traceMore string
}

// Letters are the dead letters of a server, for any client of it.
type Letters struct {
	js          jetstream.JetStream
	stream      jetstream.Stream
	root        string
	enqueueRoot string
}

// ErrNoLetter: there is no dead letter of that number.
var ErrNoLetter = errors.New("there is no such dead letter")

// OpenLetters opens the dead letters. It fails where no engine has served.
func OpenLetters(ctx context.Context, nc *nats.Conn, subjects natsio.Subjects) (*Letters, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, DeadLettersStream)
	if err != nil {
		return nil, fmt.Errorf("open the stream %s: %w", DeadLettersStream, err)
	}
	return &Letters{js: js, stream: s, root: subjects.Root("deadletters."), enqueueRoot: subjects.Root("enqueue.")}, nil
}

// Conn is the connection they are read over.
func (l *Letters) Conn() *nats.Conn { return l.js.Conn() }

// All are the dead letters, oldest first.
func (l *Letters) All(ctx context.Context) ([]Letter, error) {
	var all []Letter
	for from := uint64(1); ; {
		batch, err := jetstreamext.GetBatch(ctx, l.js, DeadLettersStream, 500,
			jetstreamext.GetBatchSubject(l.root+">"), jetstreamext.GetBatchSeq(from))
		if err != nil {
			return nil, fmt.Errorf("read the dead letters: %w", err)
		}
		n := 0
		for msg, err := range batch {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				return all, nil
			}
			if err != nil {
				return nil, fmt.Errorf("read the dead letters: %w", err)
			}
			all = append(all, letterOf(msg))
			from = msg.Sequence + 1
			n++
		}
		if n == 0 {
			return all, nil
		}
	}
}

// Get is one letter, or ErrNoLetter.
func (l *Letters) Get(ctx context.Context, seq uint64) (Letter, error) {
	msg, err := l.stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Letter{}, fmt.Errorf("%w: %d", ErrNoLetter, seq)
	}
	if err != nil {
		return Letter{}, fmt.Errorf("read dead letter %d: %w", seq, err)
	}
	return letterOf(msg), nil
}

func letterOf(msg *jetstream.RawStreamMsg) Letter {
	h := msg.Header
	at, _ := strconv.ParseUint(h.Get(headerSequence), 10, 64) // ours; 0 where it had none
	return Letter{
		Seq: msg.Sequence, Time: msg.Time.UTC(), Source: h.Get(headerSource), Subject: h.Get(headerSubject),
		Reason: h.Get(headerReason), CommandID: h.Get(headerCommandID), Stream: h.Get(headerStream),
		Sequence: at, Stored: h.Get(headerTime), Body: msg.Data,
		trace: first(h, metaTrace), traceMore: first(h, metaTraceMore),
	}
}

// Retry enqueues what the letter holds again, under the same command id, and
// removes the letter. Repeated after a failure in between, it enqueues once.
func (l *Letters) Retry(ctx context.Context, letter *Letter) error {
	msg := &nats.Msg{Subject: letter.Subject, Data: letter.Body, Header: nats.Header{}}
	if name, ok := strings.CutPrefix(letter.Source, sourceReactors); ok {
		// The journal takes no event twice, so the reactor is asked to look again.
		msg.Subject = l.enqueueRoot + aggregateReactor + "." + name + "." + verbReact
		body, err := json.Marshal(reactBody{Stream: letter.Stream, Revision: letter.Sequence})
		if err != nil {
			return err
		}
		msg.Data = body
	}
	if letter.CommandID != "" {
		msg.Header[headerCommandID] = []string{letter.CommandID}
	}
	if letter.Stored != "" {
		msg.Header[headerTime] = []string{letter.Stored}
	}
	if letter.trace != "" {
		msg.Header[metaTrace], msg.Header[metaTraceMore] = []string{letter.trace}, []string{letter.traceMore}
	}
	// Not the command id: the stream's duplicate window may still know that.
	id := fmt.Sprintf("retry-%d-%d", letter.Seq, letter.Time.UnixNano())
	if _, err := l.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(CommandsStream)); err != nil {
		return fmt.Errorf("enqueue dead letter %d again: %w", letter.Seq, err)
	}
	return l.Drop(ctx, letter.Seq)
}

// Drop removes a letter for good.
func (l *Letters) Drop(ctx context.Context, seq uint64) error {
	err := l.stream.DeleteMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("%w: %d", ErrNoLetter, seq)
	}
	if err != nil {
		return fmt.Errorf("drop dead letter %d: %w", seq, err)
	}
	return nil
}
