package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// A cell is one question: how does the engine do beside the least that could
// serve?
type cell struct {
	name      string
	what      string
	yardstick string
	unit      string  // of the value: "/s", "ms", …
	target    float64 // of the ratio own / yardstick; 0 = there is none
	atMost    bool    // the ratio should be at most the target, else at least
	once      bool    // one round is all: it builds on millions of events
	open      func(ctx context.Context, b *bench) (player, error)
}

// A player plays one round: the cell and its yardstick.
type player interface {
	round(ctx context.Context, number int) (round, error)
	close()
}

// side is what one of the two did in one round.
type side struct {
	value   float64
	latency []time.Duration // of single operations, where there are any
}

// round is both of them, close in time.
type round struct {
	own, yard side
	note      string
}

// unavailable is why a cell cannot be played on this build.
type unavailable string

func (u unavailable) Error() string { return string(u) }

// size says how much is enough.
type size struct {
	rounds int           // after one that warms up
	lasts  time.Duration // one side of a round
	probes int           // of a latency
	stored int           // events that a view folds
	large  int           // events and entries of the large journal
	rest   time.Duration // before resident memory is read; 0 = too small to read it
	levels []int         // clients, for the curve
}

var (
	fullSize  = size{5, 4 * time.Second, 400, 300_000, 1_000_000, time.Minute, []int{1, 4, 16, 64, 256}}
	quickSize = size{3, time.Second, 80, 60_000, 50_000, 0, []int{1, 4, 16, 64, 256}}
)

// bench is one run: its options, and the engine that is up.
type bench struct {
	*options
	log    io.Writer
	binary string // of the engine, once built
	up     *engine
	big    *large
	curves []curve
	undo   []func()
}

func (b *bench) close() {
	b.stop()
	for _, f := range slices.Backward(b.undo) {
		f()
	}
}

// play opens a cell and plays its rounds; the first one only warms up.
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

// turns plays both sides, the yardstick first in every other round, so that
// neither always comes upon what the other left.
func turns(number int, own, yard func() (side, error)) (r round, err error) {
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

// plain is a player made of a function and what to undo at its end.
type plain struct {
	play func(ctx context.Context, number int) (round, error)
	undo func()
}

func (p plain) round(ctx context.Context, number int) (round, error) { return p.play(ctx, number) }

func (p plain) close() {
	if p.undo != nil {
		p.undo()
	}
}
