// Command approval is an agent that asks a person before it acts: approval propose, and
// approval resume after the decision, perhaps days and several restarts later.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/tidemark-engine/tidemark/client"
)

const id = "refund-1" // of the task, and of the key of its result

type refund struct {
	Order string `json:"order"`
	Euros int    `json:"euros"`
}

func main() {
	log.SetFlags(0)
	do := map[string]func(context.Context, *client.Client) error{"propose": propose, "resume": resume}
	if len(os.Args) != 2 || do[os.Args[1]] == nil {
		log.Fatal("usage: approval propose|resume")
	}
	ctx := context.Background()
	c, err := client.Connect(ctx, cmp.Or(os.Getenv("NATS_URL"), "nats://127.0.0.1:4222"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := do[os.Args[1]](ctx, c); err != nil {
		log.Fatal(err)
	}
}

// propose writes what the agent wants to do, and asks for it, both or neither.
func propose(ctx context.Context, c *client.Client) error {
	proposal := refund{"4711", 40}
	_, err := c.NewBatch().
		Set("accountant", id+".proposal", proposal).
		Command("task."+id+".create", client.Field("kind", "approval"), client.Field("payload", proposal)).
		Do(ctx)
	if errors.Is(err, client.ErrRejected) { // the task exists
		fmt.Println("it waits for a decision already")
		return nil
	}
	if err == nil {
		fmt.Println("waiting for a decision about", id)
	}
	return err
}

// resume acts on the decision, once: the result is written only if there is none.
func resume(ctx context.Context, c *client.Client) error {
	t, err := c.GetTask(ctx, id)
	if err != nil {
		return err
	}
	if t.Status != "completed" {
		fmt.Println("there is no decision yet")
		return nil
	}
	var decision struct {
		Approved bool   `json:"approved"`
		Note     string `json:"note"`
	}
	var proposal refund
	if err := errors.Join(json.Unmarshal(t.Result, &decision), t.Into(&proposal)); err != nil {
		return err
	}
	outcome := fmt.Sprintf("refused by %s: %s", t.AgentID, decision.Note)
	if decision.Approved {
		outcome = fmt.Sprintf("refunded %d euros for order %s, approved by %s", proposal.Euros, proposal.Order, t.AgentID)
	}
	_, err = c.Agent("accountant").Set(ctx, id+".outcome", outcome, client.ExpectedVersion(0))
	if errors.Is(err, client.ErrConflict) {
		fmt.Println("it is done already")
		return nil
	}
	if err == nil {
		fmt.Println(outcome)
	}
	return err
}
