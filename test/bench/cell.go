package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// A cell is one benchmark: the engine compared with its yardstick, the least work
// that could serve.
type cell struct {
	name      string
	what      string
	yardstick string
	unit      string  // of the value: "/s", "ms", …
	target    float64 // of the ratio own / yardstick; 0 = none
	atMost    bool    // the ratio should be at most the target, else at least
	once      bool    // one round only, without warm-up
	open      func(ctx context.Context, b *bench) (player, error)
}

// A player measures one round: the cell and its yardstick.
type player interface {
	round(ctx context.Context, number int) (round, error)
	close()
}

// side is the measurement of the cell or of its yardstick in one round.
type side struct {
	value   float64
	latency []time.Duration // of single operations; may be empty
}

// round is both measurements, taken close in time.
type round struct {
	own, yard side
	note      string
}

// unavailable is the reason why a cell cannot run on this build or machine.
type unavailable string

func (u unavailable) Error() string { return string(u) }

// size is the amount of work of a run.
type size struct {
	rounds int           // after a warm-up round
	lasts  time.Duration // of one side of a round
	probes int           // latency samples per round
	stored int           // events that a view folds
	large  int           // events and entries of the large journal
	rest   time.Duration // observation of resident memory; 0 = do not measure memory
	levels []int         // numbers of clients in the curves
}

var (
	fullSize  = size{5, 4 * time.Second, 400, 300_000, 1_000_000, time.Minute, []int{1, 4, 16, 64, 256}}
	quickSize = size{3, time.Second, 80, 60_000, 50_000, 0, []int{1, 4, 16, 64, 256}}
)

// bench is one run.
type bench struct {
	*options
	log     io.Writer
	binary  string  // the engine's, once built
	up      *engine // running; nil = none
	big     *large
	curves  []curve
	cleanup []func()
}

func (b *bench) close() {
	b.stop()
	for _, f := range slices.Backward(b.cleanup) {
		f()
	}
}

// play opens a cell and measures its rounds; the first one warms up.
func (b *bench) play(ctx context.Context, c *cell) (result, error) {
	r := result{Name: c.name, What: c.what, Yardstick: c.yardstick, Unit: c.unit, Target: c.target, AtMost: c.atMost}
	p, err := c.open(ctx, b)
	var no unavailable
	if errors.As(err, &no) {
		r.Missing = string(no)
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer p.close()
	var rounds []round
	first, last := 0, b.size.rounds
	if c.once {
		first, last = 1, 1
	}
	for n := first; n <= last; n++ {
		got, err := p.round(ctx, n)
		if errors.As(err, &no) {
			r.Missing = string(no)
			return r, nil
		}
		if err != nil {
			return r, fmt.Errorf("round %d: %w", n, err)
		}
		if n > 0 {
			rounds = append(rounds, got)
		}
	}
	r.take(rounds)
	return r, nil
}

// alternate measures both sides, the yardstick first in every other round, so that the
// effect of one on the other averages out.
func alternate(number int, own, yard func() (side, error)) (r round, err error) {
	if number%2 == 0 {
		if r.yard, err = yard(); err == nil {
			r.own, err = own()
		}
		return r, err
	}
	if r.own, err = own(); err == nil {
		r.yard, err = yard()
	}
	return r, err
}

// funcPlayer is a player made of a function and a cleanup.
type funcPlayer struct {
	play    func(ctx context.Context, number int) (round, error)
	cleanup func()
}

func (p funcPlayer) round(ctx context.Context, number int) (round, error) { return p.play(ctx, number) }

func (p funcPlayer) close() {
	if p.cleanup != nil {
		p.cleanup()
	}
}
