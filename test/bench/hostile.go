package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
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
		answered, refused, ended := f.stop()
		r.note = fmt.Sprintf("%s of %s commands refused as overloaded", number(float64(refused)), number(float64(answered)))
		if err = errors.Join(err, ended); err != nil {
			return r, err
		}
		return r, e.caughtUp(ctx)
	}}, nil
}

// floodCommand is the argument with which this program starts itself as the flood, so that
// the honest client does not share a process with it.
const floodCommand = "flood"

// flood is a process of clients that send without waiting for answers.
type flood struct {
	cmd   *exec.Cmd
	ended chan struct{}
	in    *os.File
	out   *os.File
}

func startFlood(url string) (*flood, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, outEnd, err := os.Pipe()
	if err != nil {
		in.Close()
		stdin.Close()
		return nil, err
	}
	f := &flood{cmd: exec.Command(self, floodCommand, url), ended: make(chan struct{}), in: stdin, out: out}
	f.cmd.Stdin, f.cmd.Stdout, f.cmd.Stderr, f.cmd.Env = in, outEnd, os.Stderr, cleanEnv()
	err = launch(f.cmd, f.ended)
	in.Close()
	outEnd.Close()
	if err != nil {
		stdin.Close()
		out.Close()
		return nil, err
	}
	time.Sleep(floodHead)
	return f, nil
}

// floodHead is what the flood runs before the honest client begins.
const floodHead = time.Second

// stop ends the flood and returns how many answers it has got, and how many of them refused
// a command as overloaded.
func (f *flood) stop() (answered, refused int, err error) {
	f.in.Close()
	_, err = fmt.Fscan(f.out, &answered, &refused)
	<-f.ended
	f.out.Close()
	return answered, refused, err
}

// runFlood floods a server until standard input ends, and prints what stop returns.
func runFlood(args []string) int {
	if len(args) != 1 {
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var answered, refused atomic.Int64
	var all sync.WaitGroup
	var conns []*nats.Conn
	for w := range flooders {
		nc, err := nats.Connect(args[0], nats.MaxReconnects(-1))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		conns = append(conns, nc)
		inbox := nc.NewInbox()
		if _, err := nc.Subscribe(inbox, func(m *nats.Msg) {
			answered.Add(1)
			if m.Header.Get("Nats-Service-Error-Code") == "429" {
				refused.Add(1)
			}
		}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		subject := "commands.agent.flood-" + strconv.Itoa(w) + ".set"
		large := strings.Repeat("large values from one who does not wait ", floodBody/40)
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				body := `{"key":"k` + strconv.Itoa(i%1000) + `","value":"` + large + `"}`
				if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: inbox, Data: []byte(body)}); err != nil {
					time.Sleep(10 * time.Millisecond) // its connection was closed
				}
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	for _, nc := range conns {
		nc.Close()
	}
	all.Wait()
	fmt.Println(answered.Load(), refused.Load())
	return 0
}
