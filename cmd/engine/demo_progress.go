package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// progress is one line on a terminal, rewritten while something goes on;
// elsewhere it is silent.
type progress struct {
	w     io.Writer // nil = silent
	what  string
	total int
	start time.Time
	done  atomic.Int64
	stop  chan struct{}
	ended sync.WaitGroup
}

func startProgress(total int, what string) *progress {
	p := &progress{what: what, total: total, start: time.Now(), stop: make(chan struct{})}
	if !isTerminal(os.Stderr) {
		return p
	}
	p.w = os.Stderr
	p.ended.Add(1)
	go p.draw()
	return p
}

func (p *progress) draw() {
	defer p.ended.Done()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintf(p.w, "\r\033[K%s", p.line(time.Since(p.start)))
		case <-p.stop:
			fmt.Fprint(p.w, "\r\033[K")
			return
		}
	}
}

func (p *progress) line(took time.Duration) string {
	done := int(p.done.Load())
	return fmt.Sprintf("%s / %s %s, %s/s", grouped(done), grouped(p.total), p.what, grouped(perSecond(done, took)))
}

// end wipes the line.
func (p *progress) end() {
	close(p.stop)
	p.ended.Wait()
}

func perSecond(n int, took time.Duration) int {
	return int(float64(n) / max(took.Seconds(), 1e-9))
}

// grouped is a number as people read it: 5,000.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// speed is how fast commands were answered.
type speed struct {
	Commands  int     `json:"commands"`
	Seconds   float64 `json:"seconds"`
	PerSecond int     `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	SentAgain int     `json:"sent_again,omitempty"` // requests that had to be
}

func measured(latencies []time.Duration, took time.Duration, again int64) speed {
	slices.Sort(latencies)
	at := func(percent int) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return float64(latencies[(len(latencies)-1)*percent/100].Microseconds()) / 1000
	}
	return speed{
		Commands: len(latencies), Seconds: took.Seconds(), PerSecond: perSecond(len(latencies), took),
		P50: at(50), P99: at(99), SentAgain: int(again),
	}
}

func (s speed) String() string {
	text := fmt.Sprintf("%.1f s, %s commands/s, latency p50 %.1f ms, p99 %.1f ms", s.Seconds, grouped(s.PerSecond), s.P50, s.P99)
	if s.SentAgain > 0 {
		text += fmt.Sprintf("; %d requests had to be sent again", s.SentAgain)
	}
	return text
}
