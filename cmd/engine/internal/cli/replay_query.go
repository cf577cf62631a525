package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/events"
)

// asked prints the events that the engine answers: a client without the engine's own
// rights reads neither the journal nor the archive.
func (c *Replay) asked(ctx context.Context, out *Output) error {
	nc, err := c.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	root := c.Target.Subject("events.")
	pattern, ok := strings.CutPrefix(c.Subject, root)
	if !ok && c.Subject != "" {
		return usagef("--subject: %q does not begin with %s, as '%s' does", c.Subject, root, root+"agent.a1.>")
	}
	w := bufio.NewWriterSize(out, 1<<16)
	last := uint64(0)
	for p := 0; ; p++ {
		head, err := c.askedPartition(ctx, nc, p, pattern, out, w)
		if p > 0 && refusedAs(err, "partition.invalid") {
			break
		}
		if err != nil {
			return errors.Join(w.Flush(), err)
		}
		last = max(last, head)
	}
	if c.from.revision > max(last, 1) {
		return usagef("--from %d is beyond the head of the journal, %d", c.from.revision, last)
	}
	return w.Flush()
}

// refusedAs reports whether err is the engine's refusal with a code.
func refusedAs(err error, code string) bool {
	var no *deployment.Refusal
	var body struct{ Error struct{ Code string } }
	return errors.As(err, &no) && json.Unmarshal(no.Body, &body) == nil && body.Error.Code == code
}

// askedPartition prints the events of one partition up to its head, which it returns.
func (c *Replay) askedPartition(ctx context.Context, nc *nats.Conn, p int, pattern string, out *Output, w *bufio.Writer) (head uint64, err error) {
	ask := map[string]any{"subject": pattern, "partition": p, "limit": 1000, "wait_ms": 0, "from": max(c.from.revision, 1)}
	if c.to.revision > 0 {
		ask["until"] = c.to.revision
	}
	for {
		page, err := askEvents(ctx, nc, &c.Target, ask)
		if err != nil {
			return 0, err
		}
		if head == 0 {
			head = page.Head
		}
		for _, ev := range page.Events {
			if err := c.askedEvent(out, w, p, head, ev); errors.Is(err, errBeyond) {
				return head, nil
			} else if err != nil {
				return 0, err
			}
		}
		if page.Next > head || c.to.revision > 0 && page.Next > c.to.revision {
			return head, nil
		}
		ask["from"] = page.Next
	}
}

// eventsPage is an answer of queries.events.read.
type eventsPage struct {
	Events     []json.RawMessage
	Next, Head uint64
}

func askEvents(ctx context.Context, nc *nats.Conn, t *deployment.Target, body map[string]any) (page eventsPage, err error) {
	msg := nats.NewMsg(t.Subject("queries.events.read"))
	if msg.Data, err = json.Marshal(body); err != nil {
		return page, err
	}
	answer, err := deployment.Ask(ctx, nc, t.Timeout, msg)
	if err != nil {
		return page, err
	}
	if err := json.Unmarshal(answer, &page); err != nil {
		return page, fmt.Errorf("%s: %w", msg.Subject, err)
	}
	return page, nil
}

// askedEvent prints one event of an answer as it is stored: without its revision, which
// is the last member.
func (c *Replay) askedEvent(out *Output, w *bufio.Writer, p int, head uint64, answered []byte) error {
	at := bytes.LastIndex(answered, []byte(`,"revision":`))
	if at < 0 {
		return fmt.Errorf("an event has no revision: %.200s", answered)
	}
	revision, err := strconv.ParseUint(string(answered[at+len(`,"revision":`):len(answered)-1]), 10, 64)
	if err != nil {
		return fmt.Errorf("the revision of an event: %w", err)
	}
	if revision > head {
		return errBeyond // it came after the first answer
	}
	body := append(answered[:at], '}')
	ev, err := events.Decode(body)
	if err != nil {
		return err
	}
	return c.event(out, w, c.Target.Subject("events.")+string(ev.Home()), p, revision, ev.RecordedAt, body)
}
