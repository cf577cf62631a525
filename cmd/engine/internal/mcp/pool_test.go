package mcp

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// connections counts what a pool opens and closes.
type connections struct {
	open, opened atomic.Int64
	mu           sync.Mutex
	ended        []func()
}

func newPool(t *testing.T) (*pool, *connections) {
	c := &connections{}
	p := &pool{open: func(_ []byte, _ Options, ended func()) (*seat, error) {
		c.open.Add(1)
		c.opened.Add(1)
		c.mu.Lock()
		c.ended = append(c.ended, ended)
		c.mu.Unlock()
		return &seat{close: func() { c.open.Add(-1) }}, nil
	}}
	t.Cleanup(func() {
		p.close()
		c.is(t, 0)
	})
	return p, c
}

// is waits until so many connections are open.
func (c *connections) is(t *testing.T, want int64) {
	t.Helper()
	harness.Eventually(t, "the connections are closed", func() error {
		if got := c.open.Load(); got != want {
			return fmt.Errorf("%d are open, want %d", got, want)
		}
		return nil
	})
}

func TestPoolIsBounded(t *testing.T) {
	t.Run("principals", func(t *testing.T) {
		p, c := newPool(t)
		for i := range 5 * maxSeats {
			s, err := p.take(t.Context(), fmt.Appendf(nil, "%d", i), Options{}, false)
			harness.Must(t, err)
			p.give(s, false)
		}
		c.is(t, maxSeats)
		s, err := p.take(t.Context(), fmt.Appendf(nil, "%d", 5*maxSeats-1), Options{}, false)
		harness.Must(t, err)
		p.give(s, false)
		if c.opened.Load() != 5*maxSeats {
			t.Error("the newest one was not kept")
		}
	})
	t.Run("requests", func(t *testing.T) {
		p, c := newPool(t)
		var all []*seat
		for _, bound := range []struct {
			name    string
			options Options
			stream  bool
			places  int
		}{{"one", Options{}, true, maxStreams}, {"one", Options{}, false, maxOfOne - maxStreams}, {"one", Options{Agent: "a"}, false, 0}, {"one", Options{Agent: "b"}, true, 0}, {"two", Options{}, false, maxOfOne}, {"three", Options{}, false, 0}} {
			for range bound.places {
				s, err := p.take(t.Context(), []byte(bound.name), bound.options, bound.stream)
				harness.Must(t, err)
				all = append(all, s)
			}
			if _, err := p.take(t.Context(), []byte(bound.name), bound.options, bound.stream); !errors.Is(err, errBusy) {
				t.Errorf("beyond %+v: %v", bound, err)
			}
		}
		for i, s := range all {
			p.give(s, i < maxStreams)
		}
		if s, err := p.take(t.Context(), []byte("three"), Options{}, false); err != nil {
			t.Error(err)
		} else {
			p.give(s, false)
		}
		c.is(t, 3)
	})
	t.Run("ways of one principal", func(t *testing.T) {
		p, c := newPool(t)
		other, err := p.take(t.Context(), []byte("other"), Options{}, false)
		harness.Must(t, err)
		p.give(other, false)
		for i := range 5 * maxSeats {
			s, err := p.take(t.Context(), []byte("one"), Options{Agent: fmt.Sprint(i)}, false)
			harness.Must(t, err)
			p.give(s, false)
		}
		c.is(t, seatsOfOne+1)
		if again, err := p.take(t.Context(), []byte("other"), Options{}, false); err != nil || again != other {
			t.Errorf("another principal has lost its connection: %v", err)
		} else {
			p.give(again, false)
		}
		p.close()
		if len(p.holders) != 0 {
			t.Errorf("%d holders are remembered", len(p.holders))
		}
	})
	t.Run("refused credentials", func(t *testing.T) {
		p, _ := newPool(t)
		wrong := errors.New("wrong")
		open := p.open
		p.open = func(credentials []byte, o Options, ended func()) (*seat, error) {
			if string(credentials) == "wrong" {
				return nil, wrong
			}
			return open(credentials, o, ended)
		}
		right, err := p.take(t.Context(), []byte("right"), Options{}, false)
		harness.Must(t, err)
		var wg sync.WaitGroup
		for range 5 * maxSeats {
			wg.Go(func() {
				if _, err := p.take(t.Context(), []byte("wrong"), Options{}, false); !errors.Is(err, wrong) && !errors.Is(err, errBusy) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(p.seats) != 1 || p.requests != 1 || p.opening != 0 || right.ended.Err() != nil {
			t.Errorf("%d seats, %d requests, %d opening", len(p.seats), p.requests, p.opening)
		}
		p.give(right, false)
	})
}

// Requests of one principal share a connection, which is opened again after it has ended.
func TestPoolSharesConnections(t *testing.T) {
	p, c := newPool(t)
	var wg sync.WaitGroup
	for range maxOfOne {
		wg.Go(func() {
			s, err := p.take(t.Context(), []byte("one"), Options{}, false)
			if err != nil {
				t.Error(err)
				return
			}
			p.give(s, false)
		})
	}
	wg.Wait()
	if c.opened.Load() != 1 {
		t.Errorf("%d connections", c.opened.Load())
	}
	s, err := p.take(t.Context(), []byte("one"), Options{}, true)
	harness.Must(t, err)
	c.ended[0]()
	<-s.ended.Done()
	again, err := p.take(t.Context(), []byte("one"), Options{}, false)
	harness.Must(t, err)
	if again == s || c.opened.Load() != 2 {
		t.Error("a connection that has ended is used")
	}
	p.give(s, true)
	p.give(again, false)
	c.is(t, 1)
	p.close()
	if _, err := p.take(t.Context(), []byte("one"), Options{}, false); !errors.Is(err, errClosed) {
		t.Errorf("after close: %v", err)
	}
}
