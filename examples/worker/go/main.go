// Command go is a task worker with a plain NATS client. It asks the engine for the next
// task, does the job of each and reports the result. Several workers may run, also under
// one agent id: each task is given to one of them at a time. If this process dies, the
// lease of its task runs out and another worker gets it; what this one reports later is
// refused.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

const (
	lease = 10 * time.Second // the engine gives the task to another worker when it is not renewed
	poll  = 10 * time.Second // how long the engine waits for a task before it answers that there is none
)

func main() {
	url, agent := nats.DefaultURL, "worker-go"
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if len(os.Args) > 2 {
		agent = os.Args[2]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	nc, err := nats.Connect(url, nats.Name(agent), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	w := worker{nc, agent}
	for ctx.Err() == nil {
		if t := w.next(ctx); t != nil {
			w.work(ctx, t)
		}
	}
}

type worker struct {
	nc    *nats.Conn
	agent string
}

// task is the answer to tasks.next.
type task struct {
	Task struct {
		ID      string `json:"task_id"`
		Payload struct {
			Numbers []float64 `json:"numbers"`
			MS      int       `json:"ms"` // the time that the job takes
		} `json:"payload"`
	} `json:"task"`
	Fence uint64 `json:"fence"`
}

// next claims a task; nil = there is none now.
func (w *worker) next(ctx context.Context) *task {
	answer, code := w.command(ctx, poll, "tasks.next", map[string]any{
		"kind": "sum", "agent_id": w.agent, "lease_ms": lease.Milliseconds(), "wait_ms": poll.Milliseconds(),
	})
	var t task
	if code != "" {
		if code != "404" && ctx.Err() == nil {
			log.Printf("tasks.next: %s %s", code, answer)
			pause(ctx, time.Second)
		}
		return nil
	}
	if err := json.Unmarshal(answer, &t); err != nil {
		log.Printf("tasks.next: %v", err)
		return nil
	}
	return &t
}

// work does the job of a task and reports the result. A worker that is asked to stop
// finishes its task first.
func (w *worker) work(ctx context.Context, t *task) {
	ctx = context.WithoutCancel(ctx)
	renewing, done := context.WithCancel(ctx)
	go w.renew(renewing, t)
	verb, body := job(t)
	done()
	body["agent_id"], body["fence"] = w.agent, t.Fence
	answer, code := w.command(ctx, 0, "task."+t.Task.ID+"."+verb, body)
	if code != "" { // 409: the lease ran out and another worker has the task
		log.Printf("%s %s: %s %s", t.Task.ID, verb, code, answer)
		return
	}
	fmt.Println(t.Task.ID, verb)
}

// renew keeps the lease while the job takes long.
func (w *worker) renew(ctx context.Context, t *task) {
	for pause(ctx, lease/3); ctx.Err() == nil; pause(ctx, lease/3) {
		w.command(ctx, 0, "task."+t.Task.ID+".progress", map[string]any{"agent_id": w.agent, "fence": t.Fence})
	}
}

// job adds the numbers of the payload. A task without numbers fails.
func job(t *task) (verb string, body map[string]any) {
	time.Sleep(time.Duration(t.Task.Payload.MS) * time.Millisecond)
	if len(t.Task.Payload.Numbers) == 0 {
		return "fail", map[string]any{"reason": "no-numbers", "detail": "the payload has nothing to add"}
	}
	sum := 0.0
	for _, n := range t.Task.Payload.Numbers {
		sum += n
	}
	return "complete", map[string]any{"result": map[string]any{"sum": json.Number(strconv.FormatFloat(sum, 'g', -1, 64))}}
}

// command sends a command until it is answered, always under the same id, so that it takes
// effect once. wait is how long the engine may take besides. It returns the reply and the
// status of a refusal.
func (w *worker) command(ctx context.Context, wait time.Duration, subject string, body any) (answer []byte, code string) {
	msg := nats.NewMsg("commands." + subject)
	msg.Header.Set(nats.MsgIdHdr, uuid.Must(uuid.NewV7()).String())
	msg.Data, _ = json.Marshal(body) // maps of plain values
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, wait+10*time.Second)
		reply, err := w.nc.RequestMsgWithContext(attempt, msg)
		cancel()
		if err == nil {
			if code = reply.Header.Get("Nats-Service-Error-Code"); code != "429" && code != "503" {
				return reply.Data, code
			}
		}
		pause(ctx, 250*time.Millisecond)
	}
	return nil, "stopped"
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
