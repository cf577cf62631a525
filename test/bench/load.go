package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// client sends requests one after the other.
type client struct {
	next  func(i int) *nats.Msg       // the i-th request; nil = no more
	check func(reply *nats.Msg) error // validates a reply
}

const (
	mostConns   = 8 // connections that the clients share
	answerLimit = 20 * time.Second
)

// closedLoop runs a closed-loop load for a duration and returns the rate per second and
// the latency of each request.
func closedLoop(ctx context.Context, dial func() (*nats.Conn, error), clients []client, lasts time.Duration) (side, error) {
	conns := make([]*nats.Conn, min(len(clients), mostConns))
	for i := range conns {
		var err error
		if conns[i], err = dial(); err != nil {
			return side{}, err
		}
		defer conns[i].Close()
	}
	latencies := make([][]time.Duration, len(clients))
	errs := make([]error, len(clients))
	var all sync.WaitGroup
	began := time.Now()
	for w := range clients {
		all.Go(func() {
			latencies[w], errs[w] = clients[w].run(ctx, conns[w%len(conns)], began.Add(lasts))
		})
	}
	all.Wait()
	took := time.Since(began)
	for _, err := range errs {
		if err != nil { // the first error represents the others
			return side{}, fmt.Errorf("one of %d clients: %w", len(clients), err)
		}
	}
	var s side
	for _, l := range latencies {
		s.latency = append(s.latency, l...)
	}
	s.value = float64(len(s.latency)) / took.Seconds()
	return s, nil
}

// run sends requests until end. Each client has its own inbox subscription, which
// costs less than Request.
func (c *client) run(ctx context.Context, nc *nats.Conn, end time.Time) (took []time.Duration, err error) {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	for i := 0; ctx.Err() == nil; i++ {
		msg, start := c.next(i), time.Now()
		if msg == nil || start.After(end) {
			return took, nil
		}
		msg.Reply = inbox
		if err := nc.PublishMsg(msg); err != nil {
			return nil, err
		}
		reply, err := sub.NextMsg(answerLimit)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
		if len(reply.Data) == 0 && reply.Header.Get("Status") == "503" {
			return nil, nats.ErrNoResponders
		}
		if err := c.check(reply); err != nil {
			return nil, err
		}
	}
	return nil, ctx.Err()
}

// newClients creates n clients.
func newClients(n int, make func(w int) client) (all []client) {
	for w := range n {
		all = append(all, make(w))
	}
	return all
}

// echo replies to every request on a subject with size bytes until the connection
// is closed.
func echo(url, subject string, size int) (*nats.Conn, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	body := make([]byte, size)
	for i := range body {
		body[i] = 'r'
	}
	if _, err = nc.Subscribe(subject, func(m *nats.Msg) { _ = nc.Publish(m.Reply, body) }); err == nil {
		err = nc.Flush()
	}
	if err != nil {
		nc.Close()
	}
	return nc, err
}

// paced sends requests at a fixed rate, regardless of reply latency (open loop),
// until stop is called, which returns the errors.
func paced(url string, rate float64, next func(i int) *nats.Msg) (stop func() error, err error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	inbox := nc.NewInbox()
	var refused error
	if _, err = nc.Subscribe(inbox, func(m *nats.Msg) {
		if code := m.Header.Get("Nats-Service-Error-Code"); code != "" && refused == nil {
			refused = errors.New(code + " " + m.Header.Get("Nats-Service-Error"))
		}
	}); err != nil {
		nc.Close()
		return nil, err
	}
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		began, sent := time.Now(), 0
		for {
			select {
			case <-done:
				ended <- nil
				return
			case <-tick.C:
			}
			for due := int(time.Since(began).Seconds() * rate); sent < due; sent++ {
				msg := next(sent)
				msg.Reply = inbox
				if err := nc.PublishMsg(msg); err != nil {
					ended <- err
					return
				}
			}
			if err := nc.Flush(); err != nil {
				ended <- err
				return
			}
		}
	}()
	return func() error {
		close(done)
		err := <-ended
		if derr := nc.Drain(); err == nil {
			err = derr
		}
		for !nc.IsClosed() {
			time.Sleep(time.Millisecond)
		}
		return errors.Join(err, refused)
	}, nil
}

// valueSize is the payload of every write, in bytes of JSON.
const valueSize = 256

// value appends a JSON string of valueSize bytes that depends on i.
func value(b []byte, i int) []byte {
	at := len(b)
	b = append(b, '"')
	b = strconv.AppendInt(b, int64(i), 10)
	for len(b)-at < valueSize-1 {
		b = append(b, 'v')
	}
	return append(b, '"')
}
