package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// large is an engine's data directory with b.size.large entries, and the
// measurements taken while it grew.
type large struct {
	room, data string
	rates      []float64 // commands/s at each of levels
	levels     []int     // numbers of entries
	grown      float64   // growth of resident memory, in bytes
	up         *engine   // nil = stopped
	filled     bool      // the raw stream beside the journal exists
	wide       bool      // wideAgent has its entries
}

// agents is the number of agents that the entries belong to.
const agents = 256

// entryOf returns the i-th entry; consecutive entries belong to different agents.
func entryOf(i int) (subject, key string) {
	return "commands.agent.big-" + strconv.Itoa(i%agents) + ".set", "k" + strconv.Itoa(i/agents)
}

// openLarge creates the large data directory once, and starts its engine.
func (b *bench) openLarge(ctx context.Context) (*large, error) {
	b.stop()
	if b.big != nil {
		return b.big, b.big.serve(ctx, b)
	}
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	l := &large{room: dir, data: filepath.Join(dir, "data"), levels: []int{b.size.large / 100, b.size.large / 10, b.size.large}}
	b.big = l
	b.cleanup = append(b.cleanup, func() {
		l.stop()
		_ = os.RemoveAll(dir)
	})
	if err := l.serve(ctx, b); err != nil {
		return nil, err
	}
	before, err := memory(l.up.cmd.Process.Pid, 0)
	if err != nil {
		return nil, err
	}
	made := 0
	for _, level := range l.levels {
		if err := l.grow(ctx, made, level); err != nil {
			return nil, err
		}
		made = level
		s, err := closedLoop(ctx, l.up.connect, newClients(64, randomWriter(level)), 2*b.size.lasts)
		if err != nil {
			return nil, err
		}
		l.rates = append(l.rates, s.value)
		if err := l.up.caughtUp(ctx); err != nil {
			return nil, err
		}
	}
	after, err := memory(l.up.cmd.Process.Pid, b.size.rest)
	l.grown = after - before
	var ticks []string
	for _, n := range l.levels {
		ticks = append(ticks, group(strconv.Itoa(n)))
	}
	b.curves = append(b.curves, curve{"growth", "Commands, 64 clients, relaxed, by the number of aggregates", "aggregates",
		"per second", ticks, []line{{"commands", l.rates}}})
	return l, err
}

// grow writes the entries from made to level, each once.
func (l *large) grow(ctx context.Context, made, level int) error {
	const clients = 256
	_, err := closedLoop(ctx, l.up.connect, newClients(clients, func(w int) client {
		c := setter("big", clients)(w)
		c.next = func(i int) *nats.Msg {
			if i = made + w + i*clients; i >= level {
				return nil
			}
			subject, key := entryOf(i)
			return set(subject, key, i)
		}
		return c
	}), time.Hour)
	if err != nil {
		return err
	}
	return l.up.caughtUp(ctx)
}

// randomWriter returns clients that write random entries of the first n.
func randomWriter(n int) func(w int) client {
	return func(w int) client {
		c := setter("big", 64)(w)
		random := rand.New(rand.NewPCG(uint64(w), uint64(n)))
		c.next = func(i int) *nats.Msg {
			subject, key := entryOf(random.IntN(n))
			return set(subject, key, i)
		}
		return c
	}
}

func (l *large) serve(ctx context.Context, b *bench) (err error) {
	if l.up == nil {
		l.up, err = b.start(ctx, "relaxed", l.data, "--durability", "relaxed")
	}
	return err
}

func (l *large) stop() {
	if l.up != nil {
		l.up.stop()
		l.up = nil
	}
}

// openGrowth compares the rate at the largest number of entries with that at the
// smallest.
func openGrowth(ctx context.Context, b *bench) (player, error) {
	l, err := b.openLarge(ctx)
	return funcPlayer{play: func(context.Context, int) (r round, err error) {
		r.own.value, r.yard.value = l.rates[len(l.rates)-1], l.rates[0]
		r.note = fmt.Sprintf("%s aggregates beside %s", number(float64(l.levels[len(l.levels)-1])), number(float64(l.levels[0])))
		return r, nil
	}}, err
}

// entryBudget is the target for memory, in bytes an entry.
const entryBudget = 600

// openMemory subtracts from the growth of the engine's process the growth of a bare
// server with as many raw messages and keys.
func openMemory(ctx context.Context, b *bench) (player, error) {
	if b.size.rest == 0 {
		return nil, unavailable("the servers' buffers outweigh so few entries; it needs a full run")
	}
	l, err := b.openLarge(ctx)
	return funcPlayer{play: func(ctx context.Context, _ int) (r round, err error) {
		l.stop()
		dir, err := tempDir()
		if err != nil {
			return r, err
		}
		defer os.RemoveAll(dir)
		s, err := startBare(dir)
		if err != nil {
			return r, err
		}
		defer s.stop()
		before, err := memory(s.cmd.Process.Pid, 0)
		if err != nil {
			return r, err
		}
		if err = fillBare(ctx, s.url, filepath.Join(dir, bareCreds), b.size.large); err != nil {
			return r, err
		}
		time.Sleep(b.size.rest / 2) // the engine frees memory after a similar delay
		if err = s.freeMemory(); err != nil {
			return r, err
		}
		after, err := memory(s.cmd.Process.Pid, b.size.rest/2)
		n := float64(b.size.large)
		r.own.value, r.yard.value = (l.grown-(after-before))/n, entryBudget
		r.note = fmt.Sprintf("an entry of %s: engine %s B, bare server %s B", number(n), number(l.grown/n), number((after-before)/n))
		return r, err
	}}, err
}

// fillBare stores what the engine stores in NATS for n entries: a message in the
// journal, one in the feed and a key in the bucket.
func fillBare(ctx context.Context, url, creds string, n int) error {
	nc, err := nats.Connect(url, nats.UserCredentials(creds))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		return err
	}
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "BENCH", History: 3, TTL: 30 * time.Minute}); err != nil {
		return err
	}
	for _, name := range []string{"JOURNAL", "FEED"} {
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}}); err != nil {
			return err
		}
	}
	for i := range n {
		agent, key := distinct(i)
		for _, name := range []string{"JOURNAL", "FEED"} {
			if _, err := js.PublishMsgAsync(rawMsg(name+"."+agent+"."+key, i, 0)); err != nil {
				return err
			}
		}
		if _, err := js.PublishAsync("$KV.BENCH."+agent+"."+key, value(nil, i), stallWait); err != nil {
			return err
		}
	}
	return allStored(ctx, js)
}

// startBudget is the target for start-up time in addition to the servers' own.
const startBudget = time.Second

// openRecovery compares the start-up of the engine with that of the bare servers on
// the same data.
func openRecovery(ctx context.Context, b *bench) (player, error) {
	l, err := b.openLarge(ctx)
	return funcPlayer{play: func(ctx context.Context, _ int) (r round, err error) {
		l.stop()
		s, err := startBare(l.data)
		if err != nil {
			return r, err
		}
		s.stop()
		if err = l.serve(ctx, b); err != nil {
			return r, err
		}
		r.own.value, r.yard.value = (l.up.ready - s.ready).Seconds(), startBudget.Seconds()
		r.note = fmt.Sprintf("engine ready after %.2f s, bare servers after %.2f s", l.up.ready.Seconds(), s.ready.Seconds())
		return r, nil
	}}, err
}

// raw creates, once, a raw stream beside the journal with as many messages.
func (l *large) raw(ctx context.Context, n int) (jetstream.JetStream, *nats.Conn, error) {
	nc, err := l.up.connect()
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err == nil && !l.filled {
		err = fillRaw(ctx, js, n, distinct)
		l.filled = err == nil
	}
	if err != nil {
		nc.Close()
	}
	return js, nc, err
}
