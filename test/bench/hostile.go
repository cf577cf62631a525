package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	flooders  = 8
	floodBody = 100 << 10 // bytes of a value
)

// openHostile measures one honest client, alone and beside clients that send large
// commands as fast as their connections take them and wait for no answer.
func openHostile(ctx context.Context, b *bench) (player, error) {
	e, err := b.engine(ctx, "synced")
	if err != nil {
		return nil, err
	}
	honest := func(ctx context.Context) (side, error) {
		s, err := closedLoop(ctx, e.connect, newClients(1, setter("honest", 1)), b.size.lasts)
		if err == nil {
			s.value = p50(s)
		}
		return s, err
	}
	return funcPlayer{play: func(ctx context.Context, _ int) (r round, err error) {
		if r.yard, err = honest(ctx); err != nil {
			return r, err
		}
		f, err := startFlood(e.url)
		if err != nil {
			return r, err
		}
		r.own, err = honest(ctx)
		f.stop()
		r.note = fmt.Sprintf("%s of %s commands refused as overloaded", number(float64(f.refused.Load())), number(float64(f.answered.Load())))
		if err != nil {
			return r, err
		}
		return r, e.caughtUp(ctx)
	}}, nil
}

// flood is clients that send without waiting for answers.
type flood struct {
	conns             []*nats.Conn
	answered, refused atomic.Int64
	end               context.CancelFunc
	all               sync.WaitGroup
}

func startFlood(url string) (*flood, error) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &flood{end: cancel}
	for w := range flooders {
		nc, err := nats.Connect(url)
		if err != nil {
			f.stop()
			return nil, err
		}
		f.conns = append(f.conns, nc)
		inbox := nc.NewInbox()
		if _, err := nc.Subscribe(inbox, func(m *nats.Msg) {
			f.answered.Add(1)
			if m.Header.Get("Nats-Service-Error-Code") == "429" {
				f.refused.Add(1)
			}
		}); err != nil {
			f.stop()
			return nil, err
		}
		f.all.Go(func() {
			subject := "commands.agent.flood-" + strconv.Itoa(w) + ".set"
			body := make([]byte, 0, floodBody+64)
			for i := 0; ctx.Err() == nil; i++ {
				body = append(append(body[:0], `{"key":"k`...), strconv.Itoa(i%1000)...)
				body = append(body, `","value":"`...)
				for len(body) < floodBody {
					body = append(body, "large values from one who does not wait "...)
				}
				body = append(body, `"}`...)
				if nc.PublishMsg(&nats.Msg{Subject: subject, Reply: inbox, Data: body}) != nil {
					return
				}
			}
		})
	}
	time.Sleep(floodHead)
	return f, nil
}

// floodHead is what the flood runs before the honest client begins.
const floodHead = time.Second

func (f *flood) stop() {
	f.end()
	for _, nc := range f.conns {
		nc.Close()
	}
	f.all.Wait()
}
