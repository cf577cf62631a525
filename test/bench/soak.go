package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	soakShare  = 0.7 // of the peak
	soakPieces = 20  // measured intervals of a soak
)

// openSoak compares the latency in the last quarter with that in the first.
func openSoak(ctx context.Context, b *bench) (player, error) {
	if b.soak == 0 {
		return nil, unavailable("enable it with ARGS='-soak 10m'")
	}
	e, err := b.engine(ctx, "synced")
	if err != nil {
		return nil, err
	}
	peak, _, err := sets(ctx, e, 64, 2*b.size.lasts)
	return funcPlayer{play: func(ctx context.Context, _ int) (r round, err error) {
		one := setter("soak", 64)(0)
		stop, err := paced(e.url, soakShare*peak.value, func(i int) *nats.Msg {
			msg := one.next(i)
			msg.Subject = "commands.agent.soak-" + strconv.Itoa(i%64) + ".set"
			return msg
		})
		if err != nil {
			return r, err
		}
		var seen soak
		for i := range soakPieces {
			if err = seen.piece(ctx, e, b.soak/soakPieces, i); err != nil {
				return r, errors.Join(err, stop())
			}
		}
		if err = errors.Join(stop(), e.caughtUp(ctx)); err != nil {
			return r, err
		}
		err = b.runEngine(ctx, func(out *os.File) error { _, err := count(out); return err }, "verify", "--data", e.data)
		if err = errors.Join(seen.judge(soakShare*peak.value), err); err != nil {
			return r, fmt.Errorf("the soak failed: %w", err)
		}
		quarter := soakPieces / 4
		r.yard.latency = slices.Concat(seen.latency[:quarter]...)
		r.own.latency = slices.Concat(seen.latency[soakPieces-quarter:]...)
		r.own.value, r.yard.value = p50(r.own), p50(r.yard)
		r.note = fmt.Sprintf("%s at %s commands/s; p99 %.1f ms, then %.1f ms; memory %.0f MiB, then %.0f MiB; lag at most %s events; verify passes",
			b.soak, number(soakShare*peak.value), millis(percentile(r.yard.latency, 0.99)), millis(percentile(r.own.latency, 0.99)),
			seen.mib[0], seen.mib[soakPieces-1], number(slices.Max(seen.lag)))
		b.curves = append(b.curves, seen.curve(b.soak))
		return r, nil
	}}, err
}

// soak holds the measurements of each interval.
type soak struct {
	latency   [][]time.Duration
	p50, p99  []float64
	mib, lag  []float64
	pieceEnds []string
}

// A soak passes if memory grows by at most a quarter from its first quarter to its
// last, and the lag of every view stays below five seconds of commands.
const (
	soakGrowth = 1.25
	soakLag    = 5 * time.Second
)

func (s *soak) judge(rate float64) error {
	quarter := len(s.mib) / 4
	first, last := slices.Max(s.mib[:quarter]), slices.Max(s.mib[len(s.mib)-quarter:])
	if last > soakGrowth*first {
		return fmt.Errorf("memory grew from %.0f to %.0f MiB", first, last)
	}
	if lag := slices.Max(s.lag); lag > rate*soakLag.Seconds() {
		return fmt.Errorf("a view lagged %s events", number(lag))
	}
	return nil
}

// piece sends commands one by one beside the load for an interval, and samples lag
// and memory at its end.
func (s *soak) piece(ctx context.Context, e *engine, lasts time.Duration, i int) error {
	got, err := closedLoop(ctx, e.connect, newClients(1, setter("soaker", 1)), lasts)
	if err != nil {
		return err
	}
	_, lag, err := e.lag(ctx)
	if err != nil {
		return err
	}
	resident, err := memory(e.cmd.Process.Pid, 0)
	s.latency = append(s.latency, got.latency)
	s.p50 = append(s.p50, p50(got))
	s.p99 = append(s.p99, millis(percentile(got.latency, 0.99)))
	s.mib = append(s.mib, resident/(1<<20))
	s.lag = append(s.lag, float64(lag))
	s.pieceEnds = append(s.pieceEnds, (time.Duration(i+1) * lasts).Round(time.Second).String())
	return err
}

func (s *soak) curve(lasts time.Duration) curve {
	ticks := make([]string, len(s.pieceEnds))
	for i := range ticks {
		if i%4 == 3 { // the others would overlap
			ticks[i] = s.pieceEnds[i]
		}
	}
	return curve{"soak", fmt.Sprintf("%s at %.0f %% of the peak, synced", lasts, soakShare*100), "time", "ms, MiB, events", ticks,
		[]line{{"p50, ms", s.p50}, {"p99, ms", s.p99}, {"memory, MiB", s.mib}, {"lag, events", s.lag}}}
}
