package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	sdk "github.com/tidemark-engine/tidemark/client"
)

// openSDK compares a write and a read of what it wrote by the Go client with the same two
// requests by a plain NATS client that decodes the same members.
func openSDK(ctx context.Context, b *bench) (player, error) {
	e, err := b.engine(ctx, "relaxed")
	if err != nil {
		return nil, err
	}
	nc, err := e.connect()
	if err != nil {
		return nil, err
	}
	c, err := sdk.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	agent, at := c.Agent("sdk"), 0
	own := func() error {
		at++
		want := string(value(nil, at))
		want = want[1 : len(want)-1]
		if _, err := agent.Set(ctx, "k", want); err != nil {
			return err
		}
		got, err := sdk.Get[string](ctx, agent, "k")
		if err == nil && got.Value != want {
			err = errors.New("the entry has another value than was written")
		}
		return err
	}
	yard := func() error {
		at++
		return plainSetGet(ctx, nc, at)
	}
	return funcPlayer{cleanup: nc.Close, play: func(_ context.Context, n int) (r round, err error) {
		// In turns call by call: the difference is smaller than that of two seconds.
		for range 10 * b.size.probes {
			for _, s := range []struct {
				side *side
				call func() error
			}{{&r.own, own}, {&r.yard, yard}} {
				start := time.Now()
				if err := s.call(); err != nil {
					return r, err
				}
				s.side.latency = append(s.side.latency, time.Since(start))
			}
		}
		r.own.value, r.yard.value = p50(r.own), p50(r.yard)
		return r, nil
	}}, nil
}

// plainSetGet writes a value and reads it at the token of the receipt.
func plainSetGet(ctx context.Context, nc *nats.Conn, i int) error {
	reply, err := nc.RequestMsgWithContext(ctx, set("commands.agent.sdk.set", "k", i))
	if err != nil {
		return err
	}
	var receipt struct{ Token string }
	if err := json.Unmarshal(reply.Data, &receipt); err != nil || receipt.Token == "" {
		return errors.Join(err, errors.New("no receipt: "+string(reply.Data)))
	}
	reply, err = nc.RequestWithContext(ctx, "queries.agent.sdk.get", []byte(`{"key":"k","token":"`+receipt.Token+`"}`))
	if err != nil {
		return err
	}
	var entry struct{ Value json.RawMessage }
	var got string
	if err := json.Unmarshal(reply.Data, &entry); err != nil {
		return err
	}
	if err := json.Unmarshal(entry.Value, &got); err != nil {
		return err
	}
	if want := string(value(nil, i)); `"`+got+`"` != want {
		return errors.New("the entry has another value than was written")
	}
	return nil
}
