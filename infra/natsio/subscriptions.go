package natsio

import (
	"errors"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// Subscriptions keeps the subscriptions of connections. A server that takes a right away,
// by a reload of its configuration or a changed account, ends the subscriptions that need
// it and leaves the connection; when it gives the right back, it does not make them again.
// Without the right to publish replies, requests have no answers.
type Subscriptions struct {
	Log *slog.Logger

	mu      sync.Mutex
	refused map[*nats.Conn]map[Right]bool
}

// Right is what a server refuses: a subscription, or to publish replies.
type Right struct {
	Subject string
	queue   string
	publish bool
}

// String says what is refused.
func (r Right) String() string {
	if r.publish {
		return "replies to " + r.Subject
	}
	return "the subscription to " + r.Subject
}

// replies are the subjects of usual clients for the answers to their requests.
const replies = "_INBOX."

// The first and the longest pause between two questions whether a server takes a refused
// subscription: each opens a connection, and some rights are never given.
const (
	askAgain  = time.Second
	askSeldom = 8 * time.Second
)

var (
	refusedSubject = regexp.MustCompile(`Subscription to "([^"]+)"`)
	refusedQueue   = regexp.MustCompile(`using queue "([^"]+)"`)
	refusedReply   = regexp.MustCompile(`Publish to "` + regexp.QuoteMeta(replies))
)

// Keep connects nc again when its server takes a subscription that it refused. It asks on
// other connections, so that what nc does meanwhile goes on; dial opens them.
func (s *Subscriptions) Keep(nc *nats.Conn, dial func() (*nats.Conn, error)) {
	next := nc.ErrorHandler()
	nc.SetErrorHandler(func(c *nats.Conn, sub *nats.Subscription, err error) {
		if right, ok := refusal(err); ok {
			s.add(nc, right, dial)
		}
		if next != nil {
			next(c, sub, err)
		}
	})
}

// refusal is the right that an error of a connection is about.
func refusal(err error) (r Right, ok bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return r, false
	}
	text := err.Error()
	if refusedReply.MatchString(text) {
		return Right{Subject: replies + ">", publish: true}, true
	}
	if subject := refusedSubject.FindStringSubmatch(text); subject != nil {
		r.Subject, ok = subject[1], true
	}
	if queue := refusedQueue.FindStringSubmatch(text); queue != nil {
		r.queue = queue[1]
	}
	return r, ok
}

// Refused returns what servers refuse now.
func (s *Subscriptions) Refused() (all []Right) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc, refused := range s.refused {
		if !nc.IsClosed() {
			all = slices.AppendSeq(all, maps.Keys(refused))
		}
	}
	slices.SortFunc(all, func(a, b Right) int { return strings.Compare(a.String(), b.String()) })
	return slices.CompactFunc(all, func(a, b Right) bool { return a.String() == b.String() })
}

func (s *Subscriptions) add(nc *nats.Conn, one Right, dial func() (*nats.Conn, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = map[*nats.Conn]map[Right]bool{}
	}
	if s.refused[nc] == nil {
		s.refused[nc] = map[Right]bool{}
		go s.ask(nc, dial)
	}
	s.refused[nc][one] = true
}

// ask ends when the server gives one of the refused rights of nc. The others are refused again
// by the new connection, and asked for again.
func (s *Subscriptions) ask(nc *nats.Conn, dial func() (*nats.Conn, error)) {
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)
	taken := false
	for pause := askAgain; !taken && !nc.IsClosed(); pause = min(2*pause, askSeldom) {
		select {
		case <-time.After(pause):
		case <-closed:
			continue
		}
		s.mu.Lock()
		all := slices.Collect(maps.Keys(s.refused[nc]))
		s.mu.Unlock()
		taken = takes(all, dial)
	}
	s.mu.Lock()
	delete(s.refused, nc)
	s.mu.Unlock()
	if taken {
		s.Log.Info("the server gives rights that it refused: connecting again", "connection", nc.Opts.Name)
		_ = nc.ForceReconnect() // fails when the connection is closed, or reconnects already
	}
}

// takes reports whether the server gives one of the rights.
func takes(all []Right, dial func() (*nats.Conn, error)) bool {
	nc, err := dial()
	if err != nil {
		return false
	}
	defer nc.Close()
	for _, one := range all {
		before := nc.LastError()
		var err error
		if one.publish {
			err = nc.Publish(replies+nuid.Next(), nil)
		} else {
			_, err = nc.QueueSubscribeSync(one.Subject, one.queue)
		}
		if err == nil {
			err = nc.FlushTimeout(connectTimeout)
		}
		if err != nil {
			return false
		}
		if errors.Is(nc.LastError(), before) { // no refusal came before the answer
			return true
		}
	}
	return false
}
