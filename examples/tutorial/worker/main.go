// Command worker adds numbers: worker NAME works on the tasks of the kind sum that wait, and
// ends when there is none.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/tidemark-engine/tidemark/client"
)

const lease = 10 * time.Second // then the engine gives the task of a dead worker to another one

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: worker NAME")
	}
	ctx, name := context.Background(), os.Args[1]
	c, err := client.Connect(ctx, cmp.Or(os.Getenv("NATS_URL"), "nats://127.0.0.1:4222"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for {
		t, err := c.NextTask(ctx, "sum", name, lease, 0)
		if errors.Is(err, client.ErrNotFound) {
			fmt.Println("nothing to do")
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		if err := work(ctx, t); err != nil {
			log.Fatal(err)
		}
	}
}

// work does one task and reports its end. A report under an old lease is refused, so what a
// frozen worker says later changes nothing.
func work(ctx context.Context, t *client.Task) error {
	var numbers []float64
	if err := t.Into(&numbers); err != nil {
		fmt.Printf("%s, attempt %d: these are no numbers\n", t.ID, t.Attempts)
		return t.Fail(ctx, "bad-payload", err.Error())
	}
	sum := 0.0
	for _, n := range numbers {
		sum += n
	}
	fmt.Printf("%s, attempt %d: %v\n", t.ID, t.Attempts, sum)
	return t.Complete(ctx, map[string]float64{"sum": sum})
}
