package natsio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// LastQuery is a direct get for the last messages of many subjects (ADR-31). The
// client library allocates a channel of half a megabyte for each such request;
// this code collects the replies in a callback instead.
type LastQuery struct {
	Subjects []string   `json:"multi_last"`          // the server accepts at most 1,024
	UpToSeq  uint64     `json:"up_to_seq,omitempty"` // only messages up to this sequence; 0 = no bound
	UpToTime *time.Time `json:"up_to_time,omitempty"`
	// Witness is the subject of the message at UpToSeq. A reply without that message
	// is from a replica that lags, and LastMessages repeats the request; "" = any
	// replica may answer.
	Witness string `json:"-"`
}

// ReplicaLag bounds the wait for a replica that lags; ErrReplicaLags is the error
// after it.
const ReplicaLag = 10 * time.Second

// ErrReplicaLags means that the replicas which answer lag behind the leader.
var ErrReplicaLags = errors.New("the replicas that answer lag behind the leader of the stream")

// replicaPause is the pause before a request that a replica which lags has answered
// is sent again; another one may answer then.
const replicaPause = 10 * time.Millisecond

const (
	multiLastSubjects = 1000
	directGetTimeout  = 10 * time.Second // of one request whose context has no deadline
)

const (
	singleGetConcurrency  = 32   // requests in flight; their replies may be large
	singleGetSubjectBytes = 1000 // longest subject that fits the protocol line of a request
)

// LastMessages yields the last message of each subject that has one, in no
// particular order. Each subject gets a request of its own: for a request of many
// the server goes through the subjects of every block that contains one of them,
// which takes longer the more other subjects the stream has. Those with a message
// after the query's bound are then asked for with requests of up to 1,000 subjects,
// because the server finds an earlier message in no other way. It limits a reply by
// bytes; LastMessages requests the missing subjects again.
func LastMessages(ctx context.Context, nc *nats.Conn, stream string, q LastQuery, yield func(*jetstream.RawStreamMsg)) (err error) {
	if q.Witness != "" {
		return witnessedLast(ctx, nc, stream, q, yield)
	}
	tooLong := func(s string) bool { return len(s) > singleGetSubjectBytes }
	if q.UpToTime == nil && !slices.ContainsFunc(q.Subjects, tooLong) {
		if q.Subjects, err = singleGets(ctx, nc, stream, q, yield); err != nil {
			return err
		}
	}
	for subjects := q.Subjects; len(subjects) > 0; {
		n := min(len(subjects), multiLastSubjects)
		q.Subjects = subjects[:n]
		msgs, err := directGet(ctx, nc, stream, &q)
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
			missing := slices.DeleteFunc(slices.Clone(q.Subjects), func(s string) bool { return found[s] })
			subjects = append(missing, subjects...)
		}
	}
	return nil
}

// witnessedLast is LastMessages with a witness. The server sends the witness last, so
// it asks for fewer subjects when a reply is cut.
func witnessedLast(ctx context.Context, nc *nats.Conn, stream string, q LastQuery, yield func(*jetstream.RawStreamMsg)) error {
	deadline, page := time.Now().Add(ReplicaLag), multiLastSubjects
	for subjects := q.Subjects; len(subjects) > 0; {
		n := min(len(subjects), page)
		part := q
		part.Subjects = subjects[:n:n]
		added := !slices.Contains(part.Subjects, q.Witness)
		if added {
			part.Subjects = append(part.Subjects, q.Witness)
		}
		msgs, err := directGet(ctx, nc, stream, &part)
		if err != nil {
			return fmt.Errorf("read %d subjects of stream %s: %w", n, stream, err)
		}
		switch {
		case slices.ContainsFunc(msgs, func(m *jetstream.RawStreamMsg) bool { return m.Sequence == q.UpToSeq }):
			for _, m := range msgs {
				if !added || m.Subject != q.Witness {
					yield(m)
				}
			}
			subjects = subjects[n:]
		case len(msgs) > 0 && msgs[len(msgs)-1].Header.Get(numPendingHeader) != "0" && n > 1:
			page = (n + 1) / 2
		case time.Now().After(deadline):
			return fmt.Errorf("read %d subjects of stream %s: %w", n, stream, ErrReplicaLags)
		default:
			select {
			case <-time.After(replicaPause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// Headers and status codes of the reply to a direct get for several messages.
const (
	numPendingHeader   = "Nats-Num-Pending"
	statusHeader       = "Status"
	statusEndOfBatch   = "204"
	statusNotFound     = "404"
	statusNoResponders = "503"
)

// directGet sends a query for several messages and waits for the mark that ends the
// reply.
func directGet(ctx context.Context, nc *nats.Conn, stream string, query any) ([]*jetstream.RawStreamMsg, error) {
	body, err := json.Marshal(query)
	if err != nil {
		return nil, err
	}
	var msgs []*jetstream.RawStreamMsg // owned by the callback until collectReplies returns
	inbox := nc.NewInbox()
	err = collectReplies(ctx, nc, inbox, func() error {
		return nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, body)
	}, func(msg *jetstream.RawStreamMsg) (last bool, err error) {
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

// singleGets yields the last message of each subject that has one, with one request
// per subject, and returns the subjects whose last message is after the bound. When
// most are, it returns the others unread, too.
func singleGets(ctx context.Context, nc *nats.Conn, stream string, q LastQuery, yield func(*jetstream.RawStreamMsg)) (after []string, err error) {
	for subjects := q.Subjects; len(subjects) > 0; {
		some, before := subjects[:min(len(subjects), multiLastSubjects)], len(after)
		err := gets(ctx, nc, len(some), func(i int, inbox string) error {
			return nc.PublishRequest("$JS.API.DIRECT.GET."+stream+"."+some[i], inbox, nil)
		}, func(m *jetstream.RawStreamMsg) {
			if q.UpToSeq > 0 && m.Sequence > q.UpToSeq {
				after = append(after, m.Subject)
			} else {
				yield(m)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("read %d subjects of stream %s: %w", len(some), stream, err)
		}
		if subjects = subjects[len(some):]; len(after)-before > len(some)/2 {
			return append(after, subjects...), nil
		}
	}
	return after, nil
}

// MessagesAt yields the messages at sequences of a stream, with one request per
// message; a replica that lags may lack some.
func MessagesAt(ctx context.Context, nc *nats.Conn, stream string, sequences []uint64, yield func(*jetstream.RawStreamMsg)) error {
	err := gets(ctx, nc, len(sequences), func(i int, inbox string) error {
		return nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, fmt.Appendf(nil, `{"seq":%d}`, sequences[i]))
	}, yield)
	if err != nil {
		return fmt.Errorf("read %d messages of stream %s: %w", len(sequences), stream, err)
	}
	return nil
}

// gets sends n requests, singleGetConcurrency at a time, and yields the messages of
// the replies.
func gets(ctx context.Context, nc *nats.Conn, n int, request func(i int, inbox string) error, yield func(*jetstream.RawStreamMsg)) error {
	if n == 0 {
		return nil
	}
	var msgs []*jetstream.RawStreamMsg
	inbox, replies := nc.NewInbox(), 0
	send := func(i int) error {
		if i >= n {
			return nil
		}
		return request(i, inbox)
	}
	err := collectReplies(ctx, nc, inbox, func() (err error) {
		for i := 0; err == nil && i < singleGetConcurrency; i++ {
			err = send(i)
		}
		return err
	}, func(msg *jetstream.RawStreamMsg) (last bool, err error) {
		if msg != nil {
			msgs = append(msgs, msg)
		}
		replies++
		return replies == n, send(replies + singleGetConcurrency - 1)
	})
	if err != nil {
		return err
	}
	for _, m := range msgs {
		yield(m)
	}
	return nil
}

// collectReplies calls send and passes the replies in inbox to take until take
// reports the last one; a nil message is a reply without one. take runs in one
// goroutine and does not run after collectReplies has returned without an error.
func collectReplies(ctx context.Context, nc *nats.Conn, inbox string, send func() error, take func(*jetstream.RawStreamMsg) (last bool, err error)) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, directGetTimeout)
		defer cancel()
	}
	ended := make(chan error, 1)
	done := false
	sub, err := nc.Subscribe(inbox, func(m *nats.Msg) {
		if done {
			return
		}
		msg, err := decodeReply(m)
		if err == nil {
			done, err = take(msg)
		}
		if done = done || err != nil; done {
			ended <- err
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
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

// decodeReply decodes one message of a reply; nil marks the end or no message.
func decodeReply(m *nats.Msg) (*jetstream.RawStreamMsg, error) {
	text := m.Header.Get(jetstream.SequenceHeader)
	if text == "" {
		switch status := m.Header.Get(statusHeader); status {
		case statusEndOfBatch, statusNotFound:
			return nil, nil
		case statusNoResponders:
			return nil, nats.ErrNoResponders
		default:
			return nil, fmt.Errorf("direct get failed with status %q: %s", status, m.Header.Get("Description"))
		}
	}
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("direct get returned the invalid sequence %q", text)
	}
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return nil, fmt.Errorf("direct get returned an invalid time: %w", err)
	}
	return &jetstream.RawStreamMsg{
		Subject: m.Header.Get(jetstream.SubjectHeader), Sequence: seq, Time: at, Header: m.Header, Data: m.Data,
	}, nil
}
