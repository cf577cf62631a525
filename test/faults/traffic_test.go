package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// side is the prefix of the agents and tasks of a traffic.
const side = "side"

// traffic does what load does not: enqueued commands, outbox rows, deadlines, atomic batches,
// messages, and agents that expire, hydrate and flush.
type traffic struct {
	t       testing.TB
	c       *harness.Client
	sql     string
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	wait    time.Duration // for each thing that must happen after the traffic has ended

	mu       sync.Mutex
	queued   []string             // command ids that the stream has taken
	rows     []string             // command ids of inserted rows
	sent     map[string]bool      // command ids of every command that writes an entry
	tasks    map[string]time.Time // deadlines of created tasks
	batches  []batch
	messages []string
}

// batch is an atomic one.
type batch struct {
	ids      []string
	accepted bool
}

func newTraffic(t testing.TB, e *harness.Engine, sql string) *traffic {
	tr := &traffic{t: t, c: e.Client(t), sql: sql, wait: harness.Patience, sent: map[string]bool{}, tasks: map[string]time.Time{}}
	tr.ctx, tr.cancel = context.WithCancel(context.Background())
	t.Cleanup(tr.stop)
	for _, every := range []struct {
		pace time.Duration
		do   func(n int)
	}{
		{60 * time.Millisecond, tr.enqueue}, {60 * time.Millisecond, tr.insert}, {150 * time.Millisecond, tr.task},
		{60 * time.Millisecond, tr.batch}, {100 * time.Millisecond, tr.message}, {30 * time.Millisecond, tr.lifecycle},
	} {
		tr.running.Go(func() {
			for n := 0; tr.ctx.Err() == nil; n++ {
				every.do(n)
				pause(tr.ctx, every.pace)
			}
		})
	}
	return tr
}

// stop ends the traffic; each sender first learns the outcome of its last command, or gives up.
func (tr *traffic) stop() {
	tr.cancel()
	tr.running.Wait()
}

// until repeats do until it succeeds or the traffic ends, and reports whether it did.
func (tr *traffic) until(do func(ctx context.Context) error) bool {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err := do(ctx)
		cancel()
		if err == nil {
			return true
		}
		if tr.ctx.Err() != nil {
			return false
		}
		pause(tr.ctx, 50*time.Millisecond)
	}
}

func (tr *traffic) note(list *[]string, id string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	*list = append(*list, id)
}

func (tr *traffic) writes(ids ...string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, id := range ids {
		tr.sent[id] = true
	}
}

// write is the body of a set that always takes effect.
func write(key string, n int) string {
	return fmt.Sprintf(`{"key":%q,"value":%d,"strategy":"last_write_wins"}`, key, n)
}

func (tr *traffic) enqueue(n int) {
	id := harness.NewID()
	tr.writes(id)
	msg := &nats.Msg{Subject: fmt.Sprintf("enqueue.agent.%sq%d.set", side, n%3), Data: []byte(write("k", n)), Header: nats.Header{nats.MsgIdHdr: []string{id}}}
	if tr.until(func(ctx context.Context) error {
		_, err := tr.c.JS.PublishMsg(ctx, msg)
		return err
	}) {
		tr.note(&tr.queued, id)
	}
}

func (tr *traffic) insert(n int) {
	id := harness.NewID()
	tr.writes(id)
	if tr.until(func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, tr.sql)
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		_, err = conn.Exec(ctx, `INSERT INTO agents.outbox (command_id, subject, body) VALUES ($1, $2, $3)`,
			id, fmt.Sprintf("agent.%so%d.set", side, n%3), write("k", n))
		return err
	}) {
		tr.note(&tr.rows, id)
	}
}

// ask sends a command until it is answered for good.
func (tr *traffic) ask(subject, id string, body any) (accepted bool) {
	tr.until(func(ctx context.Context) error {
		_, err := tr.c.Ask(ctx, &nats.Msg{Subject: subject, Data: encode(tr.t, body), Header: nats.Header{nats.MsgIdHdr: []string{id}}})
		accepted = err == nil
		if no := harness.Refused(err); no != nil && no.Status != 503 && no.Status != 429 {
			return nil
		}
		return err
	})
	return accepted
}

func encode(t testing.TB, v any) []byte {
	text, err := json.Marshal(v)
	harness.Must(t, err)
	return text
}

func (tr *traffic) task(n int) {
	id, deadline := fmt.Sprintf("%s%d", side, n), time.Now().Add(2500*time.Millisecond).UTC()
	if tr.ask("commands.task."+id+".create", harness.NewID(), harness.M{"kind": "k", "deadline": deadline}) {
		tr.mu.Lock()
		tr.tasks[id] = deadline
		tr.mu.Unlock()
	}
}

func (tr *traffic) batch(n int) {
	b := batch{}
	var commands []harness.M
	for i := range 3 {
		id := harness.NewID()
		b.ids = append(b.ids, id)
		commands = append(commands, harness.M{"subject": fmt.Sprintf("agent.%sb.set", side), "id": id,
			"body": json.RawMessage(write(fmt.Sprintf("k%d", i), n))})
	}
	tr.writes(b.ids...)
	b.accepted = tr.ask("commands.batch", "", harness.M{"atomic": true, "commands": commands})
	tr.mu.Lock()
	tr.batches = append(tr.batches, b)
	tr.mu.Unlock()
}

func (tr *traffic) message(n int) {
	if id := harness.NewID(); tr.ask(fmt.Sprintf("commands.message.%s%d.direct", side, n%2), id, harness.M{"to": side, "body": n}) {
		tr.note(&tr.messages, id)
	}
}

// lifecycle lets two agents expire, hydrate and flush; what they refuse is right.
func (tr *traffic) lifecycle(n int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	agent := fmt.Sprintf("%sx%d", side, n/5%2)
	if verb := []string{"set", "flush", "set", "expire", "hydrate"}[n%5]; verb != "set" {
		_, _ = tr.c.Command(ctx, "commands.agent."+agent+"."+verb, harness.NewID(), `{}`)
	} else {
		id := harness.NewID()
		tr.writes(id)
		_, _ = tr.c.Command(ctx, "commands.agent."+agent+".set", id, write(fmt.Sprintf("k%d", n%7), n))
	}
}

// settle ends the traffic and waits until everything it began has ended: the queue and the outbox
// are empty, the deadlines have passed, the agents are active. It returns what did not.
func (tr *traffic) settle() (wrong []string) {
	tr.stop()
	lacks := func(what string, holds func(ctx context.Context) error) {
		ctx, cancel := context.WithTimeout(context.Background(), tr.wait)
		defer cancel()
		for {
			attempt, done := context.WithTimeout(ctx, 10*time.Second)
			err := holds(attempt)
			done()
			if err == nil {
				return
			}
			if ctx.Err() != nil {
				wrong = append(wrong, fmt.Sprintf("%s: %v", what, err))
				return
			}
			pause(ctx, 100*time.Millisecond)
		}
	}
	lacks("outcomes of enqueued commands", tr.outcomes)
	lacks("outcomes of the outbox", tr.relayed)
	lacks("messages in SQL", tr.inbox)
	lacks("the end of tasks with a deadline", tr.ended)
	for i := range 2 {
		agent := fmt.Sprintf("%sx%d", side, i)
		lacks("activity of "+agent, func(ctx context.Context) error {
			id := harness.NewID()
			tr.writes(id)
			_, err := tr.c.Command(ctx, "commands.agent."+agent+".set", id, write("k1", 0))
			if err != nil {
				return err
			}
			answer, err := tr.c.Query(ctx, "queries.agent."+agent+".lifecycle", nil)
			if err == nil && !strings.Contains(string(answer), `"active"`) {
				err = fmt.Errorf("%.300s", answer)
			}
			return err
		})
	}
	return wrong
}
