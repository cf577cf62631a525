package scenarios

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

type inboxPage struct {
	Messages []struct {
		ID   string `json:"message_id"`
		From string `json:"from"`
		Mark int64  `json:"mark"`
		Read bool   `json:"read"`
	} `json:"messages"`
	Unread   int    `json:"unread"`
	ReadUpTo int64  `json:"read_up_to"`
	Cursor   string `json:"cursor"`
}

func inboxOf(t *testing.T, c *harness.Client, agent string, body M) (page inboxPage, err error) {
	answer, err := c.Query(t.Context(), "queries.message."+agent+".inbox", body)
	if err == nil {
		err = json.Unmarshal(answer, &page)
	}
	return page, err
}

// TestInbox: agents mark what they have read at every door of two engines. What a reader marks
// while others send is what it has seen; a killed engine and a rebuild have the same.
func TestInbox(t *testing.T) {
	t.Parallel()
	engines, sql := twoEngines(t, "docs/howto/inbox.md")
	e := engines[0]
	c := e.Client(t)
	readAtEveryDoor(t, e, c)
	readWhileSending(t, e, c)
	before, err := inboxOf(t, c, "busy", M{"limit": 1000})
	harness.Must(t, err)
	for _, args := range [][]string{{"verify"}, {"rebuild", "durable"}, {"rebuild", "messages"}, {"verify"}} {
		if r := e.Run(args[0], append(args[1:], "--postgres", sql)...); r.Code != 0 {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if after, err := inboxOf(t, c, "busy", M{"limit": 1000}); err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after a rebuild %+v, %v\nwant %+v", after, err, before)
	}
}

func readAtEveryDoor(t *testing.T, e *harness.Engine, c *harness.Client) {
	doors := []string{"request", "batch", "atomic", "enqueue", "outbox", "cli"}
	for _, door := range doors {
		c.MustDo(t, "message.sender.direct", M{"to": "door-" + door, "body": 1})
	}
	c.MustDo(t, "message.sender.broadcast", M{"body": "all"})
	for _, door := range doors {
		var marks []int64
		harness.Eventually(t, "both messages of the sender", func() error { // another engine may have sent them
			page, err := inboxOf(t, c, "door-"+door, M{"unread": true})
			marks = nil
			own := 0
			for _, m := range page.Messages {
				marks = append(marks, m.Mark)
				if m.From == "sender" && !m.Read {
					own++
				}
			}
			if err == nil && (own < 2 || page.Unread != len(marks)) {
				err = fmt.Errorf("%+v", page)
			}
			return err
		})
		if page, err := inboxOf(t, c, "door-"+door, M{"unread": true, "limit": 1}); err != nil || len(page.Messages) != 1 || page.Cursor == "" {
			t.Errorf("a page of one: %+v, %v", page, err)
		}
		subject, body := "message.door-"+door+".read", M{"up_to": slices.Max(marks)} // messages are in the order of their sending
		text, err := json.Marshal(body)
		harness.Must(t, err)
		switch door {
		case "request":
			c.MustDo(t, subject, body)
		case "batch", "atomic":
			if got, err := send(t, c, door == "atomic", item("", "agent.door-"+door+".set", M{"key": "k", "value": 1}), item("", subject, body)); err != nil || got.Results[1].Receipt.Outcome != "accepted" {
				t.Errorf("%s: %+v, %v", door, got, err)
			}
		case "enqueue":
			_, err = c.JS.PublishMsg(t.Context(), &nats.Msg{Subject: "enqueue." + subject, Data: text, Header: nats.Header{nats.MsgIdHdr: []string{"read-later"}}})
			harness.Must(t, err)
		case "outbox":
			harness.Exec(t, c.SQL(t), `INSERT INTO agents.outbox (command_id, subject, body) VALUES ('read', $1, $2)`, subject, string(text))
		case "cli":
			if r := e.Run("send", "commands."+subject, string(text)); r.Code != 0 {
				t.Errorf("send: %+v", r)
			}
		}
		harness.Eventually(t, "all is read by "+door, func() error {
			page, err := inboxOf(t, c, "door-"+door, M{"unread": true})
			if err == nil && (page.Unread != 0 || len(page.Messages) != 0) {
				err = fmt.Errorf("%+v", page)
			}
			return err
		})
		if page, err := inboxOf(t, c, "door-"+door, M{"kind": "direct"}); err != nil || len(page.Messages) != 1 || !page.Messages[0].Read {
			t.Errorf("%s: %+v, %v", door, page, err)
		}
	}
	if page, err := inboxOf(t, c, "other", M{"unread": true, "broadcasts": false}); err != nil || page.Unread == 0 || len(page.Messages) != 0 {
		t.Errorf("of an agent that has read nothing: %+v, %v", page, err)
	}
}

// until sends a command until it is answered.
func until(t *testing.T, c *harness.Client, subject string, body M) harness.Receipt {
	for id := harness.NewID(); ; {
		r, err := c.Command(t.Context(), subject, id, body)
		switch no := harness.Refused(err); {
		case err == nil || t.Context().Err() != nil:
			return r
		case no != nil && no.Status < 500:
			t.Errorf("%s %v: %v", subject, body, err)
			return r
		}
	}
}

// readWhileSending lets a reader mark what it sees while others send to it. It sees every message
// as unread until it has marked it, and never again, whatever order they are stored in.
func readWhileSending(t *testing.T, e *harness.Engine, c *harness.Client) {
	const senders, each = 4, 60
	// What the senders send is counted alone: a broadcast from before may reach the view only now.
	ofSender := regexp.MustCompile(`^s\d$`)
	token := ""
	before, err := inboxOf(t, c, "busy", nil)
	harness.Must(t, err)
	if before.Unread > 0 {
		token = c.MustDo(t, "message.busy.read", M{"up_to": before.Messages[0].Mark}).Token
	}
	var open sync.WaitGroup
	for i := range senders {
		own := e.Client(t)
		open.Go(func() {
			for n := range each {
				verb, body := "direct", M{"to": "busy", "body": n}
				if n%3 == 0 {
					verb, body = "broadcast", M{"body": n}
				}
				until(t, own, fmt.Sprint("commands.message.s", i, ".", verb), body)
			}
		})
	}
	seen, ofSenders := map[string]bool{}, 0
	harness.Within(t, harness.Patience, "all messages are read", func() error {
		page, err := inboxOf(t, c, "busy", M{"unread": true, "limit": 50, "token": token})
		if err != nil || len(page.Messages) == 0 {
			return fmt.Errorf("%d are read, %v", ofSenders, err)
		}
		var marks []int64
		for _, m := range page.Messages {
			if seen[m.From+" "+m.ID] || m.Read {
				t.Errorf("%+v was read before", m)
			}
			marks = append(marks, m.Mark)
		}
		body := M{"marks": marks}
		if page.Cursor == "" { // it has seen all
			body = M{"up_to": slices.Max(marks)}
		}
		token = until(t, c, "commands.message.busy.read", body).Token
		for _, m := range page.Messages {
			seen[m.From+" "+m.ID] = true
			if ofSender.MatchString(m.From) {
				ofSenders++
			}
		}
		if ofSenders < senders*each {
			return fmt.Errorf("%d are read", ofSenders)
		}
		return nil
	})
	open.Wait()
	e.Kill()
	e.Restart()
	harness.Eventually(t, "SQL has the last marks", func() error { // another engine takes the view over
		page, err := inboxOf(t, c, "busy", M{"token": token})
		if err == nil && page.Unread != 0 {
			err = fmt.Errorf("%+v", page)
		}
		return err
	})
}
