package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// entries is the number of state entries that the clients of a cell write in turn.
const entries = 10_000

// setter returns clients that each write their own share of the entries in turn.
// Command ids are ULIDs, as the contract recommends.
func setter(group string, clients int) func(w int) client {
	return func(w int) client {
		subject := "commands.agent." + group + "-" + strconv.Itoa(w) + ".set"
		keys := max(entries/clients, 1)
		return client{
			next: func(i int) *nats.Msg { return set(subject, "k"+strconv.Itoa(i%keys), i) },
			check: func(reply *nats.Msg) error {
				if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
					return errors.New(code + " " + reply.Header.Get("Nats-Service-Error"))
				}
				return nil
			},
		}
	}
}

// set returns the command that writes a value to a key.
func set(subject, key string, i int) *nats.Msg {
	body := append(make([]byte, 0, 32+len(key)+valueSize), `{"key":"`...)
	body = append(append(body, key...), `","value":`...)
	body = append(value(body, i), '}')
	return &nats.Msg{Subject: subject, Data: body, Header: nats.Header{nats.MsgIdHdr: []string{ulid.Make().String()}}}
}

// echoClient is a client that sends a setter's messages to a responder.
func echoClient(w int) client {
	c := setter("x", 64)(w)
	return client{
		next: func(i int) *nats.Msg {
			msg := c.next(i)
			msg.Subject = echoSubject
			return msg
		},
		check: func(*nats.Msg) error { return nil },
	}
}

const (
	echoSubject = "bench.echo"
	receiptSize = 250 // bytes, approximately
	rawStream   = "BENCH"
	rawSubject  = "bench.raw."
)

// publisher returns clients that append the same values to a raw stream, each with
// compare-and-set on its subject.
func publisher(clients int) func(w int) client {
	return func(w int) client {
		subjects := max(entries/clients, 1)
		last := make([]uint64, subjects)
		at := 0
		return client{
			next: func(i int) *nats.Msg {
				at = i % subjects
				return rawMsg(rawSubject+strconv.Itoa(w)+"."+strconv.Itoa(at), i, last[at])
			},
			check: func(reply *nats.Msg) (err error) {
				last[at], err = ackSeq(reply.Data)
				return err
			},
		}
	}
}

func rawMsg(subject string, i int, last uint64) *nats.Msg {
	return &nats.Msg{Subject: subject, Data: value(make([]byte, 0, valueSize), i), Header: nats.Header{
		jetstream.MsgIDHeader:               []string{ulid.Make().String()},
		jetstream.ExpectedLastSubjSeqHeader: []string{strconv.FormatUint(last, 10)},
	}}
}

// ackSeq parses the sequence of a PubAck, {"stream":"BENCH","seq":7}.
func ackSeq(ack []byte) (uint64, error) {
	_, rest, ok := bytes.Cut(ack, []byte(`"seq":`))
	if !ok || bytes.Contains(ack, []byte(`"error"`)) {
		return 0, fmt.Errorf("the server rejected a publish: %.200s", ack)
	}
	end := bytes.IndexAny(rest, ",}")
	return strconv.ParseUint(string(bytes.TrimSpace(rest[:max(end, 0)])), 10, 64)
}

// recreateStream deletes and creates the raw stream, with the file storage and duplicate
// window of the journal, so that an ack means the same.
func recreateStream(ctx context.Context, nc *nats.Conn) (jetstream.JetStream, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(rawWindow))
	if err != nil {
		return nil, err
	}
	if err := js.DeleteStream(ctx, rawStream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: rawStream, Subjects: []string{rawSubject + ">"}, Storage: jetstream.FileStorage,
		AllowDirect: true, Duplicates: 2 * time.Minute,
	})
	return js, err
}

// rawPublish measures publishes into the raw stream, one at a time per client.
func rawPublish(ctx context.Context, e *engine, clients int, lasts time.Duration) (s side, err error) {
	nc, err := e.connect()
	if err != nil {
		return s, err
	}
	defer nc.Close()
	js, err := recreateStream(ctx, nc)
	if err != nil {
		return s, err
	}
	if s, err = closedLoop(ctx, e.connect, newClients(clients, publisher(clients)), lasts); err != nil {
		return s, err
	}
	return s, js.DeleteStream(ctx, rawStream)
}

// rawWindow is the maximum of unacknowledged asynchronous publishes.
const rawWindow = 1024

// rawAsync measures the rate of asynchronous compare-and-set publishes on one
// connection.
func rawAsync(ctx context.Context, e *engine, lasts time.Duration) (s side, err error) {
	nc, err := e.connect()
	if err != nil {
		return s, err
	}
	defer nc.Close()
	js, err := recreateStream(ctx, nc)
	if err != nil {
		return s, err
	}
	last := make([]uint64, entries)
	open := make([]jetstream.PubAckFuture, entries)
	settle := func(k int) error {
		if open[k] == nil {
			return nil
		}
		select {
		case ack := <-open[k].Ok():
			last[k], open[k] = ack.Sequence, nil
			return nil
		case err := <-open[k].Err():
			return err
		}
	}
	began, n := time.Now(), 0
	for ; time.Since(began) < lasts; n++ {
		k := n % entries
		if err = settle(k); err != nil {
			return s, err
		}
		if open[k], err = js.PublishMsgAsync(rawMsg(rawSubject+"a."+strconv.Itoa(k), n, last[k])); err != nil {
			return s, err
		}
	}
	for k := range open {
		if err = settle(k); err != nil {
			return s, err
		}
	}
	s.value = float64(n) / time.Since(began).Seconds()
	return s, js.DeleteStream(ctx, rawStream)
}

// coreRequests measures core NATS requests that a responder echoes.
func coreRequests(ctx context.Context, e *engine, clients int, lasts time.Duration) (side, error) {
	responder, err := echo(e.url, echoSubject, receiptSize)
	if err != nil {
		return side{}, err
	}
	defer responder.Close()
	return closedLoop(ctx, e.connect, newClients(clients, echoClient), lasts)
}

// lagged is the lag in events above which a note reports it.
const lagged = 1000

// sets measures commands. The note has the CPU time per command of the engine's
// process (with NATS server and views, without PostgreSQL) and the lag of the views
// at the end. It returns when they have caught up.
func sets(ctx context.Context, e *engine, clients int, lasts time.Duration) (s side, note string, err error) {
	taken := cpu(e.cmd.Process.Pid)
	if s, err = closedLoop(ctx, e.connect, newClients(clients, setter("c"+strconv.Itoa(clients), clients)), lasts); err != nil {
		return s, "", err
	}
	view, events, err := e.lag(ctx)
	if err != nil {
		return s, "", err
	}
	since := time.Now()
	err = e.caughtUp(ctx)
	taken = cpu(e.cmd.Process.Pid) - taken
	if taken > 0 {
		note = fmt.Sprintf("%s µs of CPU a command", number(micros(taken)/float64(len(s.latency))))
	}
	if events > lagged {
		note += fmt.Sprintf("; at the end %s was %s events behind, %.1f s", view, number(float64(events)), time.Since(since).Seconds())
	}
	return s, note, err
}

// openAlone measures the latency of commands of a single client.
func openAlone(ctx context.Context, b *bench) (player, error) {
	e, err := b.engine(ctx, "relaxed")
	return funcPlayer{play: func(ctx context.Context, n int) (round, error) {
		var note string
		r, err := alternate(n, func() (s side, err error) {
			if s, note, err = sets(ctx, e, 1, b.size.lasts); err == nil {
				s.value = millis(percentile(s.latency, 0.5))
			}
			return s, err
		}, func() (s side, err error) {
			ask, err := coreRequests(ctx, e, 1, b.size.lasts/2)
			if err != nil {
				return s, err
			}
			pub, err := rawPublish(ctx, e, 1, b.size.lasts/2)
			s.value = millis(percentile(ask.latency, 0.5) + percentile(pub.latency, 0.5))
			return s, err
		})
		r.note = note
		return r, err
	}}, err
}

// openRelaxed compares the rate of commands with that of the same work.
func openRelaxed(clients int) func(ctx context.Context, b *bench) (player, error) {
	return func(ctx context.Context, b *bench) (player, error) {
		e, err := b.engine(ctx, "relaxed")
		return funcPlayer{play: func(ctx context.Context, n int) (round, error) {
			var note, work string
			r, err := alternate(n, func() (s side, err error) {
				s, note, err = sets(ctx, e, clients, b.size.lasts)
				return s, err
			}, func() (s side, err error) {
				s, work, err = sameWork(ctx, e, clients, b.size.lasts)
				return s, err
			})
			if r.note = work; note != "" {
				r.note += "; " + note
			}
			return r, err
		}}, err
	}
}

// openSynced compares the rate of commands with one synced publish each.
func openSynced(clients int) func(ctx context.Context, b *bench) (player, error) {
	return func(ctx context.Context, b *bench) (player, error) {
		e, err := b.engine(ctx, "synced")
		return funcPlayer{play: func(ctx context.Context, n int) (round, error) {
			var note string
			r, err := alternate(n, func() (s side, err error) {
				s, note, err = sets(ctx, e, clients, b.size.lasts)
				return s, err
			}, func() (side, error) { return rawPublish(ctx, e, clients, b.size.lasts) })
			r.note = note
			return r, err
		}}, err
	}
}
