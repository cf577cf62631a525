package natsio

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// multiLast asks for the last messages of many subjects at once, by a direct
// get (ADR-31). The client library's way subscribes with a channel of half a
// megabyte each time; this one collects in a callback.
type LastQuery struct {
	Subjects []string   `json:"multi_last"`          // the server takes 1,024
	UpToSeq  uint64     `json:"up_to_seq,omitempty"` // last of those up to a sequence; 0 = of all
	UpToTime *time.Time `json:"up_to_time,omitempty"`
}

const (
	multiLastMost = 1000
	multiLastTime = 10 * time.Second // for one request, where the caller sets no time
)

// fewLast is up to how many subjects are asked for one by one, all at once: for
// a request of many the server goes through the subjects of every block that
// one of them is in, which takes milliseconds in a large stream.
const fewLast = 300

const (
	eachAtOnce  = 32   // of those; their answers may be large
	eachLongest = 1000 // bytes of a subject that fits the line of a request
)

// lasts yields the last message of each of many subjects, a thousand a request.
// The server cuts an answer short by bytes: then the rest is asked for again.
func LastMessages(ctx context.Context, nc *nats.Conn, stream string, q LastQuery, yield func(*jetstream.RawStreamMsg)) error {
	long := func(s string) bool { return len(s) > eachLongest }
	if len(q.Subjects) <= fewLast && q.UpToSeq == 0 && q.UpToTime == nil && !slices.ContainsFunc(q.Subjects, long) {
		return eachLast(ctx, nc, stream, q.Subjects, yield)
	}
	for subjects := q.Subjects; len(subjects) > 0; {
		n := min(len(subjects), multiLastMost)
		q.Subjects = subjects[:n]
		msgs, err := q.Ask(ctx, nc, stream)
		if err != nil {
			return fmt.Errorf("read %d subjects of stream %s: %w", n, stream, err)
		}
		for _, m := range msgs {
			yield(m)
		}
		subjects = subjects[n:]
		if len(msgs) > 0 && msgs[len(msgs)-1].Header.Get(numPendingHeader) != "0" {
			found := make(map[string]bool, len(msgs))
			for _, m := range msgs {
				found[m.Subject] = true
			}
			left := slices.DeleteFunc(slices.Clone(q.Subjects), func(s string) bool { return found[s] })
			subjects = append(left, subjects...)
		}
	}
	return nil
}

// Headers of the answer to a direct get for several messages.
const (
	numPendingHeader = "Nats-Num-Pending"
	statusHeader     = "Status"
	endOfBatch       = "204"
	nothingFound     = "404"
	nobodyAnswers    = "503"
)

// ask sends one request and waits for the end of its answer.
func (q *LastQuery) Ask(ctx context.Context, nc *nats.Conn, stream string) ([]*jetstream.RawStreamMsg, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	var msgs []*jetstream.RawStreamMsg // of the callback, until it has ended
	inbox := nc.NewInbox()
	err = collect(ctx, nc, inbox, func() error {
		return nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, body)
	}, func(msg *jetstream.RawStreamMsg) (over bool, err error) {
		if msg != nil {
			msgs = append(msgs, msg)
		}
		return msg == nil, nil
	})
	if err != nil {
		return nil, err
	}
	return msgs, nil
}

// eachLast yields the last message of each subject that has one, by a request
// for each.
func eachLast(ctx context.Context, nc *nats.Conn, stream string, subjects []string, yield func(*jetstream.RawStreamMsg)) error {
	err := each(ctx, nc, len(subjects), func(i int, inbox string) error {
		return nc.PublishRequest("$JS.API.DIRECT.GET."+stream+"."+subjects[i], inbox, nil)
	}, yield)
	if err != nil {
		return fmt.Errorf("read %d subjects of stream %s: %w", len(subjects), stream, err)
	}
	return nil
}

// MessagesAt yields the messages that a stream has at some sequences, by a
// request for each; a replica that lags may lack some.
func MessagesAt(ctx context.Context, nc *nats.Conn, stream string, sequences []uint64, yield func(*jetstream.RawStreamMsg)) error {
	err := each(ctx, nc, len(sequences), func(i int, inbox string) error {
		return nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, fmt.Appendf(nil, `{"seq":%d}`, sequences[i]))
	}, yield)
	if err != nil {
		return fmt.Errorf("read %d messages of stream %s: %w", len(sequences), stream, err)
	}
	return nil
}

// each sends n requests, eachAtOnce at a time, and yields the messages that
// they are answered with.
func each(ctx context.Context, nc *nats.Conn, n int, request func(i int, inbox string) error, yield func(*jetstream.RawStreamMsg)) error {
	if n == 0 {
		return nil
	}
	var msgs []*jetstream.RawStreamMsg
	inbox, answered := nc.NewInbox(), 0
	send := func(i int) error {
		if i >= n {
			return nil
		}
		return request(i, inbox)
	}
	err := collect(ctx, nc, inbox, func() (err error) {
		for i := 0; err == nil && i < eachAtOnce; i++ {
			err = send(i)
		}
		return err
	}, func(msg *jetstream.RawStreamMsg) (over bool, err error) {
		if msg != nil {
			msgs = append(msgs, msg)
		}
		answered++
		return answered == n, send(answered + eachAtOnce - 1)
	})
	if err != nil {
		return err
	}
	for _, m := range msgs {
		yield(m)
	}
	return nil
}

// collect sends requests and takes the answers in inbox until one is the last; nil is
// an answer without a message. take is called from one goroutine, and no more
// once collect has returned without an error.
func collect(ctx context.Context, nc *nats.Conn, inbox string, send func() error, take func(*jetstream.RawStreamMsg) (over bool, err error)) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, multiLastTime)
		defer cancel()
	}
	ended := make(chan error, 1)
	over := false
	sub, err := nc.Subscribe(inbox, func(m *nats.Msg) {
		if over {
			return
		}
		msg, err := storedOf(m)
		if err == nil {
			over, err = take(msg)
		}
		if over = over || err != nil; over {
			ended <- err
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only where the connection is closed
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	if err := send(); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// storedOf reads one message of an answer; nil ends it.
func storedOf(m *nats.Msg) (*jetstream.RawStreamMsg, error) {
	text := m.Header.Get(jetstream.SequenceHeader)
	if text == "" {
		switch status := m.Header.Get(statusHeader); status {
		case endOfBatch, nothingFound:
			return nil, nil
		case nobodyAnswers:
			return nil, nats.ErrNoResponders
		default:
			return nil, fmt.Errorf("the server answers %q %s", status, m.Header.Get("Description"))
		}
	}
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the server answers with sequence %q", text)
	}
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return nil, fmt.Errorf("the server answers with a wrong time: %w", err)
	}
	return &jetstream.RawStreamMsg{
		Subject: m.Header.Get(jetstream.SubjectHeader), Sequence: seq, Time: at, Header: m.Header, Data: m.Data,
	}, nil
}
