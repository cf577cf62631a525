package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// openReplay compares `engine replay` into a pipe with a raw replay.
func openReplay(ctx context.Context, b *bench) (player, error) {
	l, err := b.openLarge(ctx)
	if err != nil {
		return nil, err
	}
	nc, err := l.up.connect()
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, "EVENTS")
	if err != nil {
		return nil, err
	}
	events := int(s.CachedInfo().State.Msgs)
	return funcPlayer{cleanup: nc.Close, play: func(ctx context.Context, n int) (round, error) {
		return alternate(n,
			func() (s side, err error) {
				lines := 0
				began := time.Now()
				err = b.runEngine(ctx, func(out *os.File) (err error) {
					lines, err = count(out)
					return err
				}, "replay", "--data", l.data)
				if err == nil && lines < events {
					err = fmt.Errorf("replay printed %d of %d events", lines, events)
				}
				s.value = float64(lines) / time.Since(began).Seconds()
				return s, err
			},
			func() (s side, err error) {
				began := time.Now()
				err = rawReplay(ctx, js, "EVENTS", events, func(jetstream.Msg, int) error { return nil })
				s.value = float64(events) / time.Since(began).Seconds()
				return s, err
			})
	}}, nil
}

// openVerify compares the time of `engine verify` with that of `engine replay`.
func openVerify(ctx context.Context, b *bench) (player, error) {
	l, err := b.openLarge(ctx)
	if err != nil {
		return nil, err
	}
	run := func(subcommand string) func() (side, error) {
		return func() (s side, err error) {
			began := time.Now()
			err = b.runEngine(ctx, func(out *os.File) error { _, err := count(out); return err }, subcommand, "--data", l.data)
			s.value = time.Since(began).Seconds()
			return s, err
		}
	}
	return funcPlayer{play: func(_ context.Context, n int) (round, error) {
		return alternate(n, run("verify"), run("replay"))
	}}, nil
}

// count counts lines.
func count(r io.Reader) (lines int, err error) {
	buf := make([]byte, 1<<18)
	for {
		n, err := r.Read(buf)
		lines += bytes.Count(buf[:n], []byte{'\n'})
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
	}
}

// openRebuild compares the rebuild of a view with raw writes to such a store.
func openRebuild(view string, yard func(ctx context.Context, l *large, js jetstream.JetStream, n int) (side, error)) func(ctx context.Context, b *bench) (player, error) {
	return func(ctx context.Context, b *bench) (player, error) {
		if err := b.requireCommand(ctx, "rebuild", view, "--help"); err != nil {
			return nil, err
		}
		l, err := b.openLarge(ctx)
		if err != nil {
			return nil, err
		}
		if err := b.requireCommand(ctx, "rebuild", view, "--plan", "--data", l.data); err != nil {
			return nil, err
		}
		js, nc, err := l.raw(ctx, b.size.large)
		if err != nil {
			return nil, err
		}
		s, err := js.Stream(ctx, "EVENTS")
		if err != nil {
			nc.Close()
			return nil, err
		}
		events := float64(s.CachedInfo().State.Msgs)
		return funcPlayer{cleanup: nc.Close, play: func(ctx context.Context, n int) (round, error) {
			return alternate(n,
				func() (s side, err error) {
					began := time.Now()
					err = b.runEngine(ctx, func(out *os.File) error {
						_, err := count(out)
						return err
					}, "rebuild", view, "--data", l.data, "--json")
					s.value = events / time.Since(began).Seconds()
					return s, err
				},
				func() (side, error) { return yard(ctx, l, js, b.size.large) })
		}}, nil
	}
}

// rebuildSQL is the raw projection to SQL, as in openSQL.
func rebuildSQL(ctx context.Context, l *large, js jetstream.JetStream, n int) (side, error) {
	pool, err := rawPool(ctx, l.up)
	if err != nil {
		return side{}, err
	}
	defer pool.Close()
	return rawFold(ctx, js, pool, n)
}

// rebuildKV publishes asynchronously to a bucket's subjects.
func rebuildKV(ctx context.Context, _ *large, js jetstream.JetStream, n int) (s side, err error) {
	if err := js.DeleteKeyValue(ctx, "BENCH"); err != nil && !missing(err) {
		return s, err
	}
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "BENCH", History: 3}); err != nil {
		return s, err
	}
	began := time.Now()
	for i := range n {
		agent, key := distinct(i)
		if _, err := js.PublishAsync("$KV.BENCH."+agent+"."+key, value(nil, i), stallWait); err != nil {
			return s, err
		}
	}
	err = allStored(ctx, js)
	s.value = float64(n) / time.Since(began).Seconds()
	return s, err
}
