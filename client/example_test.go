package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-engine/tidemark/client"
)

// A conversation memory: messages of one conversation, appended by several programs.
func Example() {
	ctx := context.Background()
	c := connect(ctx, client.WithWriter("example"))
	defer c.Close()

	type message struct{ Role, Text string }
	memory := c.Agent("conversation-1")
	_, err := memory.Append(ctx, "messages", []message{{"user", "Where is my order?"}}, client.MaxItems(100))
	check(err)
	_, err = memory.Append(ctx, "messages", []message{{"assistant", "On its way."}}, client.MaxItems(100))
	check(err)

	messages, err := client.Get[[]message](ctx, memory, "messages")
	check(err)
	for _, m := range messages.Value {
		fmt.Println(m.Role+":", m.Text)
	}
	// Output:
	// user: Where is my order?
	// assistant: On its way.
}

func ExampleClient_Work() {
	ctx, stop := context.WithCancel(context.Background())
	c := connect(ctx)
	defer c.Close()
	_, err := c.CreateTask(ctx, "sum-1", "sum", []int{1, 2, 3}, client.Retry(3, time.Second))
	check(err)

	err = c.Work(ctx, client.Worker{Kind: "sum", Agent: "adder"}, func(ctx context.Context, t *client.Task) (any, error) {
		defer stop() // an example works on one task
		var numbers []int
		if err := t.Into(&numbers); err != nil {
			return nil, &client.Failure{Reason: "bad-payload", Detail: err.Error()}
		}
		sum := 0
		for _, n := range numbers {
			sum += n
		}
		return map[string]int{"sum": sum}, nil
	})
	check(err)

	task, err := c.GetTask(context.Background(), "sum-1")
	check(err)
	fmt.Println(task.Status, string(task.Result))
	// Output: completed {"sum":6}
}

func ExampleUpdate() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	type plan struct{ Steps []string }
	for _, step := range []string{"look", "leap"} {
		_, err := client.Update(ctx, c.Agent("updater"), "plan", func(p plan) (plan, error) {
			p.Steps = append(p.Steps, step)
			return p, nil
		})
		check(err)
	}
	p, err := client.Get[plan](ctx, c.Agent("updater"), "plan")
	check(err)
	fmt.Println(p.Value.Steps, p.Version)
	// Output: [look leap] 2
}

func ExampleAgent_Set() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	a := c.Agent("setter")
	_, err := a.Set(ctx, "mood", "calm")
	check(err)
	_, err = a.Set(ctx, "mood", "wild", client.ExpectedVersion(0)) // only if there is none
	fmt.Println(errors.Is(err, client.ErrConflict))
	_, err = client.Get[string](ctx, a, "name")
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// true
	// true
}

func ExampleAgent_Merge() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	a := c.Agent("merger")
	_, err := a.Set(ctx, "profile", map[string]any{"name": "Ada", "city": "London"})
	check(err)
	receipt, err := a.Merge(ctx, "profile", map[string]any{"city": nil, "born": 1815})
	check(err)
	fmt.Println(string(receipt.Value))
	// Output: {"name":"Ada","born":1815}
}

func ExampleAgent_Add() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	a := c.Agent("counter")
	for range 3 {
		receipt, err := a.Add(ctx, "budget", 0.1, client.Bounds(0, 0.25))
		fmt.Println(string(receipt.Value), errors.Is(err, client.ErrRejected))
	}
	// Output:
	// 0.1 false
	// 0.2 false
	//  true
}

func ExampleHistory() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	a := c.Agent("historian")
	for year := range 3 {
		_, err := a.Set(ctx, "year", 2020+year)
		check(err)
	}
	for v, err := range client.History[int](ctx, a, "year") {
		check(err)
		fmt.Println(v.Version, v.Value)
	}
	// Output:
	// 3 2022
	// 2 2021
	// 1 2020
}

func ExampleAgent_Revert() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	a := c.Agent("reverter")
	before, err := a.Set(ctx, "plan", "good")
	check(err)
	_, err = a.Set(ctx, "plan", "bad")
	check(err)
	was, err := client.Get[string](ctx, a, "plan", client.AtRevision(before.Revision))
	check(err)
	_, err = a.Revert(ctx, client.Revision(before.Revision), client.Reason("the plan was bad"))
	check(err)
	now, err := client.Get[string](ctx, a, "plan")
	check(err)
	fmt.Println(was.Value, now.Value, now.Version)
	// Output: good good 3
}

func ExampleAgent_Fork() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.Agent("original").Set(ctx, "idea", "one")
	check(err)
	fork, err := c.Agent("original").Fork(ctx, "copy")
	check(err)
	_, err = fork.Set(ctx, "idea", "two")
	check(err)
	for e, err := range client.Entries[string](ctx, c.Agent("original"), "") {
		check(err)
		fmt.Println(e.Key, e.Value)
	}
	// Output: idea one
}

func ExampleWatch() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	c := connect(ctx)
	defer c.Close()
	a := c.Agent("watched")
	_, err := a.Set(ctx, "mood", "calm")
	check(err)
	for e, err := range client.Watch[string](ctx, a, ">") {
		check(err)
		fmt.Println(e.Key, e.Value)
		if e.Value == "happy" {
			break
		}
		_, err = a.Set(ctx, "mood", "happy")
		check(err)
	}
	// Output:
	// mood calm
	// mood happy
}

func ExampleClient_Events() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.Agent("followed").Set(ctx, "a", 1)
	check(err)
	last, err := c.Agent("followed").Delete(ctx, "a")
	check(err)
	for event, err := range c.Events(ctx, client.EventsFrom{Subject: "agent.followed.state.>", Until: last.Revision}) {
		check(err)
		fmt.Println(event.Type, event.Version)
	}
	// Output:
	// agent.state_set 1
	// agent.state_deleted 2
}

func ExampleClient_Acquire() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	lock, err := c.Acquire(ctx, "deploy", "ada", time.Minute)
	check(err)
	_, err = c.Acquire(ctx, "deploy", "bob", time.Minute)
	fmt.Println(errors.Is(err, client.ErrClaimHeld))
	check(lock.Renew(ctx))
	check(lock.Release(ctx))
	second, err := c.Acquire(ctx, "deploy", "bob", time.Minute)
	check(err)
	fmt.Println(second.Fence > lock.Fence)
	// Output:
	// true
	// true
}

func ExampleClient_Remind() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.Remind(ctx, "daily", client.Cron("0 9 * * 1-5", "Europe/Berlin"), "agent.planner.set", map[string]any{"key": "today", "value": "plan the day"})
	check(err)
	receipt, err := c.CancelReminder(ctx, "daily")
	check(err)
	fmt.Println(receipt.Outcome)
	// Output: accepted
}

func ExampleBatch_Do() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	account := c.Agent("accounts")
	from, err := account.Set(ctx, "from", 10)
	check(err)
	transfer := func() error {
		_, err := c.NewBatch().
			Command("agent.accounts.add", client.Field("key", "from"), client.Field("delta", -4)).
			Command("agent.accounts.add", client.Field("key", "to"), client.Field("delta", 4)).
			RequireEntry("accounts", "from", from.Version).
			Do(ctx)
		return err
	}
	fmt.Println(transfer())
	fmt.Println(errors.Is(transfer(), client.ErrRequireFailed)) // the balance has changed
	// Output:
	// <nil>
	// true
}

func ExampleList() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	for _, id := range []string{"l1", "l2"} {
		_, err := c.CreateTask(ctx, id, "listed", nil, client.Priority(7))
		check(err)
	}
	for t, err := range client.List[client.Task](ctx, c, "tasks.list", client.Where("kind", "listed")) {
		check(err)
		fmt.Println(t.ID, t.Status, t.Priority)
	}
	// Output:
	// l1 created 7
	// l2 created 7
}

func ExampleClient_OpenSession() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.OpenSession(ctx, "s1", "ada", time.Hour)
	check(err)
	_, err = c.PutSession(ctx, "s1", "cart", []string{"tea"})
	check(err)
	s, err := c.GetSession(ctx, "s1")
	check(err)
	fmt.Println(s.Owner, s.Status, string(s.Data["cart"]))
	// Output: ada open ["tea"]
}

func ExampleGetConfig() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.SetConfig(ctx, "configured", "model", "small")
	check(err)
	model, err := client.GetConfig[string](ctx, c, "configured", "model")
	check(err)
	fmt.Println(model.Value)
	// Output: small
}

func ExampleClient_Send() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	check(c.Send(ctx, "ada", "bob", "hello"))
	check(c.Broadcast(ctx, "ada", "hello all"))
	for m, err := range client.List[client.Message](ctx, c, "message.bob.inbox", client.Where("kind", "direct")) {
		check(err)
		fmt.Println(m.From, string(m.Body))
	}
	// Output: ada "hello"
}
