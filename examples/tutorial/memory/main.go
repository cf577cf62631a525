// Command memory is a conversation that remembers: memory TEXT. Each run is a process of its
// own; what it knows is in the engine.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"regexp"

	"github.com/tidemark-engine/tidemark/client"
)

type message struct {
	Role string `json:"role"`
	Text string `json:"text"`
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: memory TEXT")
	}
	ctx := context.Background()
	c, err := client.Connect(ctx, cmp.Or(os.Getenv("NATS_URL"), "nats://127.0.0.1:4222"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := converse(ctx, c.Agent("conversation-1"), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// converse adds a message of the user and an answer to the conversation.
func converse(ctx context.Context, memory *client.Agent, text string) error {
	// Concurrent appends all take effect, in one order.
	if _, err := memory.Append(ctx, "messages", []message{{"user", text}}, client.MaxItems(1000)); err != nil {
		return err
	}
	answer, err := reply(ctx, memory, text)
	if err != nil {
		return err
	}
	if _, err := memory.Append(ctx, "messages", []message{{"assistant", answer}}, client.MaxItems(1000)); err != nil {
		return err
	}
	messages, err := client.Get[[]message](ctx, memory, "messages")
	if err != nil {
		return err
	}
	fmt.Printf("%s (%d messages)\n", answer, len(messages.Value))
	return nil
}

var (
	statement = regexp.MustCompile(`^my (\w+) is (\w+)$`)
	question  = regexp.MustCompile(`^what is my (\w+)\?$`)
)

// reply stands for a language model: it learns facts, and answers from them.
func reply(ctx context.Context, memory *client.Agent, text string) (string, error) {
	if m := statement.FindStringSubmatch(text); m != nil {
		_, err := memory.Merge(ctx, "facts", map[string]string{m[1]: m[2]})
		return fmt.Sprintf("Your %s is %s.", m[1], m[2]), err
	}
	m := question.FindStringSubmatch(text)
	if m == nil {
		return "Tell me something, or ask me.", nil
	}
	facts, err := client.Get[map[string]string](ctx, memory, "facts")
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return "", err
	}
	if value := facts.Value[m[1]]; value != "" {
		return fmt.Sprintf("You said that your %s is %s.", m[1], value), nil
	}
	return "I do not know that.", nil
}
