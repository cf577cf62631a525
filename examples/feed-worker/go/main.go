// Command go is a task worker with a plain NATS client. It pulls started tasks
// from the stream TASK_EXECUTION, does the job of each and reports the result. A
// redelivered message repeats the job; its report takes effect once.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"
)

// limit is the rate_limit of task-processor, in messages per second. The server
// has no such field, so each client that pulls applies it.
const limit = 1000

func main() {
	url := nats.DefaultURL
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := work(ctx, url); err != nil {
		log.Fatal(err)
	}
}

func work(ctx context.Context, url string) error {
	nc, err := nats.Connect(url, nats.Name("worker-go"), nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	c, err := js.Consumer(ctx, "TASK_EXECUTION", "task-processor")
	if err != nil {
		return fmt.Errorf("is an engine running at %s? %w", url, err)
	}
	messages, err := c.Messages(jetstream.PullMaxMessages(100), jetstream.PullExpiry(30*time.Second))
	if err != nil {
		return err
	}
	defer messages.Stop()
	pace := rate.NewLimiter(limit, limit/10)
	var jobs sync.WaitGroup // at most max_ack_pending = 100 at a time
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err == nil {
			err = pace.Wait(ctx)
		}
		switch {
		case ctx.Err() != nil:
			jobs.Wait()
			return nil
		case errors.Is(err, jetstream.ErrMsgIteratorClosed):
			return err
		case err != nil:
			log.Print(err) // the iterator recovers by itself
			continue
		}
		jobs.Go(func() { handle(ctx, nc, msg) })
	}
}

// event is the body of a message on tasks.started.<task>.<agent>.
type event struct {
	ID         string    `json:"id"`
	Digest     string    `json:"digest"`
	RecordedAt time.Time `json:"recorded_at"`
	State      struct {
		Kind    string `json:"kind"`
		Payload struct {
			Numbers []float64 `json:"numbers"`
		} `json:"payload"`
	} `json:"state"`
}

// handle does the job of one message and acknowledges it after the engine has
// accepted the report.
func handle(ctx context.Context, nc *nats.Conn, msg jetstream.Msg) {
	var ev event
	if err := json.Unmarshal(msg.Data(), &ev); err != nil {
		log.Printf("%s: the message is not an event: %v", msg.Subject(), err)
		_ = msg.Term() // without it the server redelivers the message
		return
	}
	verb, body := job(&ev)
	for ctx.Err() == nil {
		if report(ctx, nc, &ev, verb, body) {
			_ = msg.Ack()
			return
		}
		_ = msg.InProgress() // extends ack_wait while the engine does not answer
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// job adds the numbers of the payload. A task without numbers fails.
func job(ev *event) (verb, body string) {
	if len(ev.State.Payload.Numbers) == 0 {
		return "fail", `{"reason":"no-numbers","detail":"the payload has nothing to add"}`
	}
	sum := 0.0
	for _, n := range ev.State.Payload.Numbers {
		sum += n
	}
	return "complete", `{"result":{"sum":` + strconv.FormatFloat(sum, 'g', -1, 64) + `}}`
}

// report sends the result of a task to the engine; done means that no retry is
// needed.
func report(ctx context.Context, nc *nats.Conn, ev *event, verb, body string) (done bool) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	msg := nats.NewMsg("commands.task." + ev.ID + "." + verb)
	msg.Data = []byte(body)
	msg.Header.Set(nats.MsgIdHdr, commandID(ev))
	reply, err := nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return false
	}
	switch code := reply.Header.Get("Nats-Service-Error-Code"); code {
	case "":
		fmt.Printf("%s %s %s\n", ev.ID, verb, body)
		return true
	case "429", "503":
		return false
	default: // the task is cancelled, or another worker reported it
		log.Printf("%s %s: %s %s", ev.ID, verb, code, reply.Data)
		return true
	}
}

// commandID is derived from the event, so that a repeated job takes effect once.
// It is a UUIDv7 of the event's time, so that the engine recognises it without a
// time limit.
func commandID(ev *event) string {
	sum := sha256.Sum256([]byte(ev.Digest))
	id := uuid.UUID(sum[:16])
	ms := ev.RecordedAt.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id.String()
}
