package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/domain"
)

// Watch follows the hot bucket, or the stream AGENT_STATE, as any NATS client
// can.
type Watch struct {
	deployment.Target
	Pattern string `arg:"" optional:"" default:">" help:"Keys to watch, AGENT.KEY with NATS wildcards: a1.> or *.mood. With --feed a subject pattern: agents.state.a1.>."`
	Updates bool   `help:"Only changes from now on, not the present state."`
	Feed    bool   `help:"Watch the stream AGENT_STATE from its last message on: states, lifecycles, heartbeats."`
}

// grammar is the form of what can be watched.
const (
	keyGrammar  = "keys are AGENT.KEY: 'a1.>' watches every key of agent a1, '*.mood' the key mood of every agent, '>' all"
	feedGrammar = "subjects are agents.state.AGENT.KEY, agents.lifecycle.AGENT.EVENT and agents.heartbeat.AGENT: 'agents.state.a1.>', 'agents.*.a1.>'"
)

// Validate refuses a pattern that no key or subject ever matches.
func (c *Watch) Validate() error {
	switch {
	case c.Pattern == ">":
	case c.Feed && !wellFormed(c.Pattern):
		return fmt.Errorf("%q is not a subject pattern; %s", c.Pattern, feedGrammar)
	case !c.Feed && !watchable(c.Pattern):
		return fmt.Errorf("%q never matches; %s", c.Pattern, keyGrammar)
	}
	return nil
}

// wellFormed reports whether a pattern has tokens joined by single dots, > at
// the end alone, and no white space.
func wellFormed(pattern string) bool {
	return server.IsValidSubject(pattern) && !strings.ContainsFunc(pattern, unprintable) && !strings.Contains(pattern, " ")
}

// watchable reports whether a pattern can match a key of the hot bucket.
func watchable(pattern string) bool {
	agent, key, ok := strings.Cut(pattern, ".")
	if !ok || !wellFormed(pattern) || agent != "*" && domain.CheckAgentID(agent) != nil {
		return false
	}
	return domain.CheckKey(strings.NewReplacer("*", "x", ">", "x").Replace(key)) == nil && literalWildcards(key)
}

// literalWildcards reports whether wildcards are whole tokens; inside a token the
// server takes them as text, which no key has.
func literalWildcards(key string) bool {
	for _, token := range strings.Split(key, ".") {
		if len(token) > 1 && strings.ContainsAny(token, "*>") {
			return false
		}
	}
	return true
}

// Run implements the command.
func (c *Watch) Run(ctx context.Context, out *Output) error {
	nc, err := c.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := c.checkFeed(); err != nil {
		return err
	}
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
	c.announce("bucket AGENT_STATE", keyGrammar)
	for {
		select {
		case <-ctx.Done():
			return nil
		case v, open := <-w.Updates():
			switch {
			case !open:
				return errors.New("the watch ended: was the connection or the bucket lost?")
			case v == nil: // the end of the present state
			case v.Operation() == jetstream.KeyValuePut:
				err = c.print(out, `{"operation":"put","key":%q,"entry":%s}`, v.Key(), v.Value())
			default:
				err = c.print(out, `{"operation":"delete","key":%q,"time":"%s"}`, v.Key(), []byte(v.Created().UTC().Format(time.RFC3339Nano)))
			}
			if err != nil {
				return err
			}
		}
	}
}

// checkFeed refuses a pattern of --feed that no subject of the stream matches.
func (c *Watch) checkFeed() error {
	if !c.Feed {
		return nil
	}
	for _, subjects := range []string{"agents.state.*.>", "agents.lifecycle.*.*", "agents.heartbeat.*"} {
		if server.SubjectsCollide(c.Pattern, c.Target.Subject(subjects)) {
			return nil
		}
	}
	return usagef("%q never matches; %s", c.Pattern, feedGrammar)
}

// announce says what is watched, because a watch without messages is silent.
func (c *Watch) announce(where, grammar string) {
	fmt.Fprintf(os.Stderr, "watching %s for %s until interrupted (%s)\n", where, Escape(c.Pattern), grammar)
}

// print prints a line with a name and a document.
func (c *Watch) print(out *Output, format, name string, document []byte) error {
	if !json.Valid(document) && strings.HasSuffix(format, "%s}") { // another program wrote it
		document, _ = json.Marshal(string(document))
	}
	return out.Document(fmt.Appendf(nil, format, name, document))
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
	c.announce("stream AGENT_STATE", feedGrammar)
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if err == nil && !strings.Contains(msg.Subject(), ".$feeds.") { // the position records of the view
			err = c.print(out, `{"subject":%q,"message":%s}`, msg.Subject(), msg.Data())
		}
		if err != nil {
			return fmt.Errorf("watch the stream AGENT_STATE: %w", err)
		}
	}
}
