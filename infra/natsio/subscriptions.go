package natsio

import (
	"errors"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Subscriptions keeps the subscriptions of connections. A server that takes a right away,
// by a reload of its configuration or a changed account, ends the subscriptions that need
// it and leaves the connection; when it gives the right back, it does not make them again.
type Subscriptions struct {
	Log *slog.Logger

	mu      sync.Mutex
	refused map[*nats.Conn]map[subscription]bool
}

type subscription struct{ subject, queue string }

// The first and the longest pause between two questions whether a server takes a refused
// subscription: each opens a connection, and some rights are never given.
const (
	askAgain  = time.Second
	askSeldom = 8 * time.Second
)

var (
	refusedSubject = regexp.MustCompile(`Subscription to "([^"]+)"`)
	refusedQueue   = regexp.MustCompile(`using queue "([^"]+)"`)
)

// Keep connects nc again when its server takes a subscription that it refused. It asks on
// other connections, so that what nc does meanwhile goes on; dial opens them.
func (s *Subscriptions) Keep(nc *nats.Conn, dial func() (*nats.Conn, error)) {
	next := nc.ErrorHandler()
	nc.SetErrorHandler(func(c *nats.Conn, sub *nats.Subscription, err error) {
		if subject := refusedSubject.FindStringSubmatch(err.Error()); subject != nil && errors.Is(err, nats.ErrPermissionViolation) {
			one := subscription{subject: subject[1]}
			if queue := refusedQueue.FindStringSubmatch(err.Error()); queue != nil {
				one.queue = queue[1]
			}
			s.add(nc, one, dial)
		}
		if next != nil {
			next(c, sub, err)
		}
	})
}

// Refused returns the subjects of the subscriptions that servers refuse now.
func (s *Subscriptions) Refused() (subjects []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc, refused := range s.refused {
		if nc.IsClosed() {
			continue
		}
		for one := range refused {
			subjects = append(subjects, one.subject)
		}
	}
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

func (s *Subscriptions) add(nc *nats.Conn, one subscription, dial func() (*nats.Conn, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = map[*nats.Conn]map[subscription]bool{}
	}
	if s.refused[nc] == nil {
		s.refused[nc] = map[subscription]bool{}
		go s.ask(nc, dial)
	}
	s.refused[nc][one] = true
}

// ask ends when the server takes one of the refused subscriptions of nc. The others are
// refused again by the new connection, and asked for again.
func (s *Subscriptions) ask(nc *nats.Conn, dial func() (*nats.Conn, error)) {
	closed := nc.StatusChanged(nats.CLOSED)
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
		s.Log.Info("the server takes subscriptions that it refused: connecting again", "connection", nc.Opts.Name)
		_ = nc.ForceReconnect() // fails when the connection is closed, or reconnects already
	}
}

// takes reports whether the server takes one of the subscriptions.
func takes(all []subscription, dial func() (*nats.Conn, error)) bool {
	nc, err := dial()
	if err != nil {
		return false
	}
	defer nc.Close()
	for _, one := range all {
		before := nc.LastError()
		sub, err := nc.QueueSubscribeSync(one.subject, one.queue)
		if err == nil {
			err = nc.FlushTimeout(connectTimeout)
		}
		if err != nil {
			return false
		}
		if errors.Is(nc.LastError(), before) { // no refusal came before the answer
			return true
		}
		_ = sub.Unsubscribe()
	}
	return false
}
