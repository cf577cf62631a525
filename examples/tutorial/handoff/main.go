// Command handoff is two agents that work one after the other: handoff researcher TOPIC
// collects notes and hands them to the writer; handoff writer makes a text of them.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/client"
)

// brief is what one agent hands to the other: where the work is, not the work itself.
type brief struct {
	Topic string `json:"topic"`
	Agent string `json:"agent"`
	Key   string `json:"key"`
}

func main() {
	log.SetFlags(0)
	ctx := context.Background()
	c, err := client.Connect(ctx, cmp.Or(os.Getenv("NATS_URL"), "nats://127.0.0.1:4222"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	switch {
	case len(os.Args) == 3 && os.Args[1] == "researcher":
		err = research(ctx, c, os.Args[2])
	case len(os.Args) == 2 && os.Args[1] == "writer":
		err = write(ctx, c)
	default:
		err = errors.New("usage: handoff researcher TOPIC, or handoff writer")
	}
	if err != nil {
		log.Fatal(err)
	}
}

// research keeps its notes and makes the task of the writer, both or neither: there is no
// task without notes, and there are no notes without a task.
func research(ctx context.Context, c *client.Client, topic string) error {
	key := "notes." + topic
	_, err := c.NewBatch().
		Set("researcher", key, []string{topic + " rise and fall", topic + " follow the moon"}).
		Command("task.draft-"+topic+".create", client.Field("kind", "draft"), client.Field("agent_id", "writer"),
			client.Field("payload", brief{topic, "researcher", key})).
		Do(ctx)
	if err == nil {
		fmt.Println("the writer has a task: draft-" + topic)
	}
	return err
}

// write takes the next task that is for the writer alone, and says when it is done.
func write(ctx context.Context, c *client.Client) error {
	t, err := c.NextTask(ctx, "draft", "writer", time.Minute, 0)
	if errors.Is(err, client.ErrNotFound) {
		fmt.Println("nothing to write")
		return nil
	}
	if err != nil {
		return err
	}
	var b brief
	if err := t.Into(&b); err != nil {
		return t.Fail(ctx, "bad-brief", err.Error())
	}
	notes, err := client.Get[[]string](ctx, c.Agent(b.Agent), b.Key)
	if err != nil {
		return err
	}
	text := strings.Join(notes.Value, ", ") + "."
	if _, err := c.Agent("writer").Set(ctx, "draft."+b.Topic, text); err != nil {
		return err
	}
	if err := t.Complete(ctx, map[string]string{"key": "draft." + b.Topic}); err != nil {
		return err
	}
	fmt.Println("written:", text)
	return c.Send(ctx, "writer", b.Agent, "the draft of "+b.Topic+" is ready")
}
