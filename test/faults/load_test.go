package faults

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// load runs writers on a few shared entries. As the wire contract asks, a
// writer repeats a command under the same id until it knows the outcome;
// sometimes it gives up.
type load struct {
	*harness.History
	t       testing.TB
	ctx     context.Context // ends the work between two commands
	cancel  context.CancelFunc
	running sync.WaitGroup
	pace    time.Duration // between two commands of one writer; 0 = none
	patient bool          // no writer gives up
	epoch   atomic.Int64  // in the names of the agents: another one begins new histories
	opts    []nats.Option // of its connections
	answer  time.Duration // how long a writer waits for an answer before it sends again; 0 = answerTime

	histories int // checked by judge
}

func newLoad(t testing.TB, pace time.Duration, patient bool) *load {
	l := &load{History: harness.NewHistory(), t: t, pace: pace, patient: patient}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	t.Cleanup(l.stop)
	return l
}

// stop waits until every writer knows the outcome of its last command.
func (l *load) stop() {
	l.cancel()
	l.running.Wait()
}

// start adds writers, each with its own connection. Every second writer is
// hasty. The others wait, and nats.go sends what they published while
// disconnected after the reconnect.
func (l *load) start(e *harness.Engine, writers int) {
	for w := range writers {
		c := &writer{load: l, n: w, link: newLink()}
		opts := append(slices.Clone(l.opts), nats.DisconnectErrHandler(func(*nats.Conn, error) { c.cut() }))
		if c.hasty = w%2 == 0; c.hasty {
			opts = append(opts, nats.ReconnectBufSize(-1))
		}
		c.Client = e.Client(l.t, opts...)
		l.running.Go(c.write)
	}
}

// writer is one client of a load.
type writer struct {
	*load
	*harness.Client
	*link
	n     int
	hasty bool // sends again as soon as the connection is lost, instead of waiting for an answer
}

// link cancels requests when the connection that they wait on is lost.
type link struct {
	mu   sync.Mutex
	lost chan struct{}
}

func newLink() *link { return &link{lost: make(chan struct{})} }

func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.lost)
	k.lost = make(chan struct{})
}

// during returns a context that ends after d, and when the connection is lost.
func (k *link) during(d time.Duration) (context.Context, context.CancelFunc) {
	k.mu.Lock()
	lost := k.lost
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	go func() {
		select {
		case <-lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

const agents, keys = 3, 4

func (l *writer) write() {
	for n := 0; l.ctx.Err() == nil; n++ {
		op := harness.Op{ID: harness.NewID(), Agent: fmt.Sprintf("agent%d-%d", l.epoch.Load(), rand.IntN(agents)), Key: fmt.Sprintf("key.%d", rand.IntN(keys)),
			Value: fmt.Sprintf(`"%d of writer %d"`, n, l.n)}
		verb, body := "set", `{"key":"`+op.Key+`","writer":"w`+fmt.Sprint(l.n)+`"`
		switch dice := rand.IntN(20); {
		case dice < 2:
			verb, op.Value = "delete", ""
			body += `,"strategy":"last_write_wins"`
		case dice < 4: // loses as often as not
			body += fmt.Sprintf(`,"strategy":"timestamp","timestamp":%q`, time.Now().Add(-time.Duration(rand.IntN(20))*time.Millisecond).UTC().Format(time.RFC3339Nano))
		case dice < 6:
			body += fmt.Sprintf(`,"expected_version":%d`, l.read(op.Agent, op.Key, nil))
		default:
			body += `,"strategy":"last_write_wins"`
		}
		if op.Value != "" {
			body += `,"value":` + op.Value
		}
		l.carry(&op, "commands.agent."+op.Agent+"."+verb, body+"}")
		l.Add(op)
		if op.Outcome == "accepted" && rand.IntN(10) == 0 {
			l.read(op.Agent, op.Key, &op.Receipt)
		}
		if l.pace > 0 {
			pause(l.ctx, l.pace)
		}
	}
}

// Bounds for one command.
const (
	answerTime = 700 * time.Millisecond // of one sending: much longer than an engine takes, about as long as one is away
	readTime   = 4 * time.Second
	lifeTime   = 90 * time.Second
)

// carry sends a command until its outcome is known. One in six is abandoned
// when the outcome is not known at once.
func (l *writer) carry(op *harness.Op, subject, body string) {
	givesUp := !l.patient && rand.IntN(6) == 0
	op.Invoked = time.Now()
	wait := cmp.Or(l.answer, answerTime)
	for op.Sent = 1; ; op.Sent++ {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		if l.hasty {
			cancel()
			ctx, cancel = l.during(wait)
		}
		r, err := l.Command(ctx, subject, op.ID, body)
		cancel()
		op.Returned = time.Now()
		no := harness.Refused(err)
		switch {
		case err == nil:
			op.Outcome, op.Receipt = r.Outcome, r
			// When a leader is lost the engine itself repeats an append.
			if r.CommandID != op.ID || r.Replayed && op.Sent == 1 && l.opts == nil {
				l.t.Errorf("the receipt of %s is %+v, sent %d times", op.ID, r, op.Sent)
			}
			return
		case no != nil && no.Status != 503 && no.Status != 429:
			op.Outcome, op.Status = harness.Refusing, no.Status
			if no.Status == 500 {
				l.t.Errorf("an internal error: %s", no.Body)
			}
			return
		case givesUp, errors.Is(err, nats.ErrConnectionClosed): // closed: the test has ended
			op.Outcome = harness.Unknown
			return
		case op.Returned.Sub(op.Invoked) > lifeTime:
			op.Outcome = harness.Unknown
			l.t.Errorf("command %s is not answered for %s: %v", op.ID, lifeTime, err)
			return
		}
		pause(context.Background(), 20*time.Millisecond)
	}
}

// pause waits between two attempts of a command.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

// read queries an entry and records the answer: with a receipt at any
// consistency by its token, otherwise with strong consistency. It returns the
// version, 0 without a value or an answer.
func (l *writer) read(agent, key string, receipt *harness.Receipt) uint64 {
	r := harness.Read{Agent: agent, Key: key, Strong: receipt == nil}
	ask := harness.M{"consistency": "strong"}
	if receipt != nil {
		r.AtLeast = receipt.Version
		ask = harness.M{"consistency": []string{"cached", "hot", "durable"}[rand.IntN(3)], "token": receipt.Token}
	}
	ctx, cancel := l.during(readTime)
	defer cancel()
	r.Invoked = time.Now()
	got, err := l.Get(ctx, agent, key, ask)
	r.Returned = time.Now()
	switch no := harness.Refused(err); {
	case err == nil:
		r.Found, r.Version, r.Value = true, got.Version, string(got.Value)
	case no == nil || no.Status == 503: // no responder, or a timeout
		return 0
	case no.Status != 404:
		l.t.Errorf("read %s.%s %v: %v", agent, key, ask, err)
		return 0
	}
	l.AddRead(r)
	return r.Version
}

// wait returns when this many more commands were accepted.
func (l *load) wait(more int) {
	l.t.Helper()
	start, moved := l.Acked()
	limit := time.NewTimer(60 * time.Second)
	defer limit.Stop()
	for {
		now, next := l.Acked()
		if now >= start+more {
			return
		}
		select {
		case <-moved:
		case <-limit.C:
			l.t.Fatalf("only %d of %d commands were accepted within a minute", now-start, more)
		}
		moved = next
	}
}

// judge stops the load and compares what the clients saw with the journal, and
// the journal with every view. It restarts the engine first, so that no late
// command is still under way.
func (l *load) judge(e *harness.Engine) { l.judgeOthers(e) }

// judgeOthers is judge where other clients wrote to agents with these prefixes. It returns the
// journal.
func (l *load) judgeOthers(e *harness.Engine, prefixes ...string) []harness.Event {
	l.t.Helper()
	l.stop()
	e.Stop()
	e.Restart()
	c := e.Client(l.t)
	everything := c.CheckAll(l.t)
	all := without(everything, prefixes...)
	for i, why := range l.Check(all) {
		if i == 20 {
			l.t.Error("… and more")
			break
		}
		l.t.Error(why)
	}
	histories, wrong := l.Linearizable(all)
	for _, why := range wrong {
		l.t.Error(why)
	}
	l.histories = histories
	count, _ := json.Marshal(l.Count())
	l.t.Logf("%d events; %s", len(all), count)
	for name, last := range harness.Last(all) {
		agent, key, _ := last.Entry()
		for _, consistency := range []string{"cached", "hot", "durable", "strong"} {
			got, err := c.Get(l.t.Context(), agent, key, harness.M{"consistency": consistency})
			if no := harness.Refused(err); last.Deleted() && no != nil && no.Status == 404 {
				continue
			}
			if err != nil || got.Revision != last.Revision || string(got.Value) != string(last.Data.Value) {
				l.t.Errorf("get %s %s: %+v %v; the journal ends with %s at revision %d", consistency, name, got, err, last.Data.Value, last.Revision)
			}
		}
	}
	e.Verify()
	return everything
}

// without returns the events of the other aggregates.
func without(all []harness.Event, prefixes ...string) []harness.Event {
	return slices.DeleteFunc(slices.Clone(all), func(ev harness.Event) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(ev.ID, p) })
	})
}
