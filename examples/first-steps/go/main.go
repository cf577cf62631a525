// Command go shows the first steps with a plain NATS client, without an SDK:
// four requests to a running engine and a watch of the hot bucket.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	url := nats.DefaultURL
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	nc, err := nats.Connect(url)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	// Every client may watch the hot bucket.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	kv, err := js.KeyValue(ctx, "AGENT_STATE")
	if err != nil {
		log.Fatal(err)
	}
	watch, err := kv.Watch(ctx, "go-agent.>", jetstream.UpdatesOnly())
	if err != nil {
		log.Fatal(err)
	}

	ask(nc, "commands.agent.go-agent.set", `{"key":"plan","value":{"goal":"ship","steps":3},"strategy":"last_write_wins"}`)
	ask(nc, "queries.agent.go-agent.get", `{"key":"plan"}`)
	ask(nc, "commands.agent.go-agent.set", `{"key":"plan","value":"mine","strategy":"reject"}`) // a conflict
	ask(nc, "commands.agent.go-agent.set", `{"key":"no spaces","value":1}`)                     // a refusal

	update := <-watch.Updates()
	fmt.Printf("watch  %s = %s\n", update.Key(), update.Value())
}

// ask sends one request and prints the request and the answer.
func ask(nc *nats.Conn, subject, body string) {
	fmt.Printf(">      %s %s\n", subject, body)
	reply, err := nc.Request(subject, []byte(body), 5*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
		fmt.Printf("< %s  %s\n", code, reply.Data)
		return
	}
	fmt.Printf("<      %s\n", reply.Data)
}
