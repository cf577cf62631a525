package coordination

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Timers are set by reactors, so a timer is lost for good where the stream, some of
// its messages or the consumer of a reactor is removed: no event sets it again. A
// mark in the stream says that it has the timers of every event: a message before
// the timers and one after them, which names the first and the consumers. A stream
// that was removed, made again or purged lacks one of them; another consumer may
// have missed events.
const (
	armingSubject = "armed.begin" // below the root; no name of a timer begins so
	armedSubject  = "armed.end"
)

// mark is the message after the timers.
type mark struct {
	Begin uint64 `json:"begin"` // sequence of the message before them
	// Consumers are those of the reactors that set timers, with the time at which
	// each was created.
	Consumers map[string]time.Time `json:"consumers"`
}

// Armed reports whether the stream has the timers of every event, set by these
// consumers.
func (t *Timers) Armed(ctx context.Context, consumers map[string]time.Time) (bool, error) {
	if t.purged.Load() {
		return false, nil
	}
	m, found, err := t.mark(ctx)
	if err != nil || !found {
		return false, err
	}
	for name, created := range consumers {
		if !m.Consumers[name].Equal(created) {
			return false, nil
		}
	}
	return true, nil
}

// Purged notes that another program has removed messages of the stream: Armed is then
// false until Arm. Other streams are ignored.
func (t *Timers) Purged(stream, connection string) {
	if stream == TimerStream {
		t.log.Warn("another program has removed messages of the stream TIMERS; the timers are set again", "connection", connection)
		t.purged.Store(true)
	}
}

// Arm calls set, which sets the timers of all events again, and marks the stream if
// it succeeds. The consumers must exist before: they deliver what set does not see.
func (t *Timers) Arm(ctx context.Context, consumers map[string]time.Time, set func(ctx context.Context) error) error {
	t.purged.Store(false) // a purge from now on is noticed after the mark
	m, found, err := t.mark(ctx)
	if err != nil {
		return err
	}
	if !found {
		m = mark{}
	}
	ack, err := t.js.Publish(ctx, t.root+armingSubject, nil)
	if err == nil {
		err = set(ctx)
	}
	if err != nil {
		t.purged.Store(true)
		return fmt.Errorf("set all timers again: %w", err)
	}
	m.Begin = ack.Sequence
	all := maps.Clone(consumers) // an engine of another build may have more reactors
	for name, created := range m.Consumers {
		if _, own := all[name]; !own {
			all[name] = created
		}
	}
	m.Consumers = all
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := t.js.Publish(ctx, t.root+armedSubject, body); err != nil {
		return fmt.Errorf("mark the stream %s: %w", TimerStream, err)
	}
	return nil
}

// mark reads the mark; found is false when a part of it is missing.
func (t *Timers) mark(ctx context.Context) (m mark, found bool, err error) {
	read := func(get func() (*jetstream.RawStreamMsg, error)) (msg *jetstream.RawStreamMsg, err error) {
		msg, err = get()
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the mark of the stream %s: %w", TimerStream, err)
		}
		return msg, nil
	}
	end, err := read(func() (*jetstream.RawStreamMsg, error) {
		return natsio.LastMessage(ctx, t.js.Conn(), t.stream, t.root+armedSubject)
	})
	if err != nil || end == nil || json.Unmarshal(end.Data, &m) != nil {
		return m, false, err
	}
	begin, err := read(func() (*jetstream.RawStreamMsg, error) {
		return natsio.LastMessage(ctx, t.js.Conn(), t.stream, t.root+armingSubject)
	})
	if err != nil || begin == nil {
		return m, false, err
	}
	return m, begin.Sequence == m.Begin, nil
}
