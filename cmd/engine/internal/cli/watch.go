package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
)

// Watch follows the hot bucket, or the stream AGENT_STATE, as any NATS client
// can.
type Watch struct {
	deployment.Target
	Pattern string `arg:"" optional:"" default:">" help:"Keys to watch, AGENT.KEY with NATS wildcards: a1.> or *.mood."`
	Updates bool   `help:"Only changes from now on, not the present state."`
	Feed    bool   `help:"Watch the stream AGENT_STATE from its last message on: states, lifecycles, heartbeats."`
}

// Run implements the command.
func (c *Watch) Run(ctx context.Context, out *Output) error {
	nc, err := c.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if c.Feed {
		return c.feed(ctx, js, out)
	}
	kv, err := js.KeyValue(ctx, "AGENT_STATE")
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	var opts []jetstream.WatchOpt
	if c.Updates {
		opts = append(opts, jetstream.UpdatesOnly())
	}
	w, err := kv.Watch(ctx, c.Pattern, opts...)
	if err != nil {
		return fmt.Errorf("watch %q: %w", c.Pattern, err)
	}
	defer func() { _ = w.Stop() }() // the connection closes with it
	for {
		select {
		case <-ctx.Done():
			return nil
		case v, open := <-w.Updates():
			switch {
			case !open:
				return fmt.Errorf("the watch ended")
			case v == nil: // the end of the present state
			case v.Operation() == jetstream.KeyValuePut:
				fmt.Fprintf(out, "{\"operation\":\"put\",\"key\":%q,\"entry\":%s}\n", v.Key(), oneLine(v.Value()))
			default:
				fmt.Fprintf(out, "{\"operation\":\"delete\",\"key\":%q,\"time\":%q}\n", v.Key(), v.Created().UTC().Format(time.RFC3339Nano))
			}
		}
	}
}

// feed reads with an ephemeral consumer, without acknowledgements.
func (c *Watch) feed(ctx context.Context, js jetstream.JetStream, out *Output) error {
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverLastPolicy}
	if c.Updates {
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	if c.Pattern != ">" {
		cfg.FilterSubjects = []string{c.Pattern}
	}
	consumer, err := js.OrderedConsumer(ctx, "AGENT_STATE", cfg)
	if err != nil {
		return fmt.Errorf("watch the stream AGENT_STATE: %w", err)
	}
	defer func() { // else the server keeps it for minutes
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = js.DeleteConsumer(ctx, "AGENT_STATE", consumer.CachedInfo().Name)
	}()
	it, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("watch the stream AGENT_STATE: %w", err)
	}
	defer it.Stop()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch the stream AGENT_STATE: %w", err)
		}
		if !strings.Contains(msg.Subject(), ".$feeds.") { // the position records of the view
			fmt.Fprintf(out, "{\"subject\":%q,\"message\":%s}\n", msg.Subject(), oneLine(msg.Data()))
		}
	}
}
