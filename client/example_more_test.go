package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/client"
)

func ExampleConnect() {
	ctx := context.Background()
	c, err := client.Connect(ctx, engine().NATSURL, client.WithWriter("planner"), client.WithNATS(nats.Name("planner")))
	check(err)
	defer c.Close()
	_, err = c.Agent("connected").Set(ctx, "mood", "calm")
	fmt.Println(err)
	// Output: <nil>
}

func ExampleNew() {
	nc, err := nats.Connect(engine().NATSURL)
	check(err)
	defer nc.Close()
	c, err := client.New(nc)
	check(err)
	c.Close() // leaves the connection open
	fmt.Println(c.Conn() == nc, nc.IsClosed())
	// Output: true false
}

func ExampleWithCredentials() {
	_, err := client.Connect(context.Background(), engine().NATSURL, client.WithCredentials("nobody.creds")) // engine auth add has not written it
	fmt.Println(err != nil)
	// Output: true
}

func ExampleWithPrefix() {
	ctx := context.Background()
	c := connect(ctx, client.WithPrefix("acme"), client.WithPatience(100*time.Millisecond))
	defer c.Close()
	_, err := c.Agent("a1").Set(ctx, "mood", "calm") // no engine has this prefix
	fmt.Println(errors.Is(err, client.ErrUnavailable))
	// Output: true
}

func ExampleClient_NextTask() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.CreateTask(ctx, "report-1", "report", "weekly", client.For("writer"), client.Deadline(time.Now().Add(time.Hour)))
	check(err)
	t, err := c.NextTask(ctx, "report", "writer", time.Minute, 0)
	check(err)
	check(t.Progress(ctx, 50, "half of it"))
	check(t.Complete(ctx, "done"))
	fmt.Println(t.ID, t.Attempts, t.Fence())
	_, err = c.NextTask(ctx, "report", "writer", time.Minute, 0)
	fmt.Println(errors.Is(err, client.ErrNoTask))
	// Output:
	// report-1 1 2
	// true
}

func ExampleTask_Fail() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.CreateTask(ctx, "print-1", "print", nil, client.Retry(2, time.Hour))
	check(err)
	t, err := c.NextTask(ctx, "print", "printer", time.Minute, 0)
	check(err)
	check(t.Fail(ctx, "no-paper", "the tray is empty"))
	waits, err := c.GetTask(ctx, "print-1")
	check(err)
	fmt.Println(waits.Status, waits.Reason)
	// Output: created no-paper
}

func ExampleClient_CancelTask() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.CreateTask(ctx, "unwanted", "odd-job", nil)
	check(err)
	_, err = c.CancelTask(ctx, "unwanted", "no longer needed")
	check(err)
	t, err := c.GetTask(ctx, "unwanted")
	check(err)
	fmt.Println(t.Status, t.Reason)
	// Output: cancelled no longer needed
}

func ExampleBatch_Each() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	results, err := c.NewBatch().Set("each", "a", 1).Delete("each", "none").Each(ctx)
	check(err)
	fmt.Println(results[0].Receipt.Outcome, errors.Is(results[1].Err, client.ErrNotFound))
	// Output: accepted true
}

func ExampleBatch_RequireOwner() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.Acquire(ctx, "editor", "ada", time.Minute)
	check(err)
	publish := func(owner string) error {
		_, err := c.NewBatch().Set("board", "headline", "by "+owner).RequireOwner("editor", owner).Do(ctx)
		return err
	}
	fmt.Println(publish("ada"))
	fmt.Println(errors.Is(publish("bob"), client.ErrRequireFailed))
	// Output:
	// <nil>
	// true
}

func ExampleBatch_RequireVersion() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	created, err := c.CreateTask(ctx, "guarded", "odd-job", nil)
	check(err)
	_, err = c.NewBatch().Set("board", "next", "guarded").RequireVersion("task.guarded", created.Version).Do(ctx)
	fmt.Println(err)
	// Output: <nil>
}

func ExampleAgent_RevertEntry() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	a := c.Agent("corrector")
	for _, city := range []string{"Lisbon", "Porto", "Faro"} {
		_, err := a.Set(ctx, "city", city)
		check(err)
	}
	_, err := a.RevertEntry(ctx, "city", client.Version(1))
	check(err)
	first, err := client.Get[string](ctx, a, "city")
	check(err)
	for v, err := range client.History[string](ctx, a, "city") {
		check(err)
		if v.Version == 2 {
			_, err = a.RevertEntry(ctx, "city", client.Time(v.RecordedAt), client.Reason("it was Porto"))
			check(err)
		}
	}
	second, err := client.Get[string](ctx, a, "city")
	check(err)
	fmt.Println(first.Value, second.Value, second.Version)
	// Output: Lisbon Porto 5
}

func ExampleAtTime() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	a := c.Agent("traveller")
	for _, place := range []string{"home", "away"} {
		_, err := a.Set(ctx, "place", place)
		check(err)
	}
	for v, err := range client.History[string](ctx, a, "place") {
		check(err)
		was, err := client.Get[string](ctx, a, "place", client.AtTime(v.RecordedAt))
		check(err)
		fmt.Println(was.Value)
	}
	// Output:
	// away
	// home
}

func ExampleAgent_Lifecycle() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	a := c.Agent("sleeper")
	_, err := a.Lifecycle(ctx, "hydrate", client.Reason("it is needed soon"))
	fmt.Println(err)
	fmt.Println(a.Heartbeat(ctx))
	// Output:
	// <nil>
	// <nil>
}

func ExampleAgent_Erase() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.Agent("forgotten").Erase(ctx, "asked for by the person")
	var refused *client.Error
	fmt.Println(errors.As(err, &refused), refused.Code) // this engine does not run with --encryption on
	// Output: true erase.needs_encryption
}

func ExampleViewRow() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.Command(ctx, "view.cities.define", map[string]any{
		"from": "state", "agents": "visitor", "columns": map[string]any{"city": map[string]string{"path": "/value/city", "type": "text"}},
	})
	check(err)
	_, err = c.Agent("visitor").Set(ctx, "home", map[string]string{"city": "Rome"})
	check(err)
	row, err := client.ViewRow[struct{ Key, City string }](ctx, c, "cities", "visitor.home")
	check(err)
	fmt.Println(row.Key, row.City)
	// Output: visitor.home Rome
}

func ExampleClient_CloseSession() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.OpenSession(ctx, "s2", "ada", 0)
	check(err)
	_, err = c.TouchSession(ctx, "s2")
	check(err)
	_, err = c.CloseSession(ctx, "s2")
	check(err)
	s, err := c.GetSession(ctx, "s2")
	check(err)
	fmt.Println(s.Status)
	// Output: closed
}

func ExampleClient_UnsetConfig() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	_, err := c.SetConfig(ctx, "unset", "model", "small")
	check(err)
	_, err = c.UnsetConfig(ctx, "unset", "model")
	check(err)
	_, err = client.GetConfig[string](ctx, c, "unset", "model")
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output: true
}

func ExampleEvery() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	note := map[string]any{"key": "note", "value": "water the plants"}
	for id, when := range map[string]client.Schedule{"once": client.At(time.Now().Add(time.Hour)), "often": client.Every(24 * time.Hour)} {
		_, err := c.Remind(ctx, id, when, "agent.gardener.set", note)
		check(err)
		receipt, err := c.CancelReminder(ctx, id)
		check(err)
		fmt.Println(receipt.Outcome)
	}
	// Output:
	// accepted
	// accepted
}

func ExampleStrategy() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	a, now := c.Agent("sensor"), time.Now()
	_, err := a.Set(ctx, "reading", 21, client.Timestamp(now), client.Writer("kitchen"))
	check(err)
	late, err := a.Set(ctx, "reading", 19, client.Timestamp(now.Add(-time.Hour))) // it was on its way for long
	check(err)
	_, err = a.Set(ctx, "reading", 0, client.Strategy("reject")) // only if there is none
	fmt.Println(late.Superseded(), errors.Is(err, client.ErrConflict))
	// Output: true true
}

func ExampleConsistency() {
	ctx := context.Background()
	c, other := connect(ctx), connect(ctx)
	defer c.Close()
	defer other.Close()
	receipt, err := c.Agent("consistent").Set(ctx, "mood", "calm")
	check(err)
	e, err := client.Get[string](ctx, other.Agent("consistent"), "mood", client.Token(receipt.Token)) // as new as that write
	check(err)
	again, err := client.Get[string](ctx, other.Agent("consistent"), "mood", client.Consistency("strong")) // as new as every write
	check(err)
	fmt.Println(e.Value, again.Value)
	// Output: calm calm
}

func ExampleNewID() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	id := client.NewID() // kept, it may be used after a restart of the program
	for range 2 {
		receipt, err := c.Agent("careful").Add(ctx, "count", 1, client.CommandID(id))
		check(err)
		fmt.Println(string(receipt.Value), receipt.Replayed)
	}
	// Output:
	// 1 false
	// 1 true
}

func ExampleClient_Query() {
	ctx := context.Background()
	c := connect(ctx)
	defer c.Close()
	receipt, err := c.Command(ctx, "agent.asked.set", map[string]any{"key": "mood", "value": "calm"})
	check(err)
	var entry struct{ Value string }
	check(c.Query(ctx, "agent.asked.get", map[string]any{"key": "mood", "token": receipt.Token}, &entry))
	fmt.Println(entry.Value)
	check(c.Read(ctx, "agent.asked.get", map[string]any{"key": "mood"}, &entry)) // with the token of what c has written
	fmt.Println(entry.Value)
	// Output:
	// calm
	// calm
}
