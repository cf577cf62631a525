package demo

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
)

// speed is how fast commands were answered.
type speed struct {
	Commands  int     `json:"commands"`
	Seconds   float64 `json:"seconds"`
	PerSecond int     `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	SentAgain int     `json:"sent_again,omitempty"` // retried requests
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
		Commands: len(latencies), Seconds: took.Seconds(), PerSecond: int(float64(len(latencies)) / max(took.Seconds(), 1e-9)),
		P50: at(50), P99: at(99), SentAgain: int(again),
	}
}

func (s speed) String() string {
	text := fmt.Sprintf("%.1f s, %s commands/s, latency p50 %.1f ms, p99 %.1f ms", s.Seconds, cli.Grouped(s.PerSecond), s.P50, s.P99)
	if s.SentAgain > 0 {
		text += fmt.Sprintf("; %d requests were retried", s.SentAgain)
	}
	return text
}
