package main

import (
	"context"
	"strconv"
)

// curve is the data of a plot: several lines over one x axis.
type curve struct {
	Name  string   `json:"name"` // of the file
	Title string   `json:"title"`
	X     string   `json:"x"`
	Y     string   `json:"y"`
	Ticks []string `json:"ticks"` // of the x axis, evenly spread
	Lines []line   `json:"lines"`
}

type line struct {
	Name string    `json:"name"`
	Y    []float64 `json:"y"`
}

// openCurve measures commands and raw publishes at every number of clients.
func openCurve(mode string) func(ctx context.Context, b *bench) (player, error) {
	return func(ctx context.Context, b *bench) (player, error) {
		e, err := b.engine(ctx, mode)
		return funcPlayer{play: func(ctx context.Context, _ int) (r round, err error) {
			own, yard := sample{name: "commands"}, sample{name: "raw publish with CAS"}
			for _, clients := range b.size.levels {
				if _, _, err = sets(ctx, e, clients, b.size.lasts/4); err != nil { // warms up
					return r, err
				}
				s, _, err := sets(ctx, e, clients, b.size.lasts)
				if err != nil {
					return r, err
				}
				own.add(s)
				if s, err = rawPublish(ctx, e, clients, b.size.lasts); err != nil {
					return r, err
				}
				yard.add(s)
			}
			var ticks []string
			for _, n := range b.size.levels {
				ticks = append(ticks, strconv.Itoa(n))
			}
			b.curves = append(b.curves,
				curve{mode + "-throughput", "Throughput, " + mode, "clients", "per second", ticks,
					[]line{{own.name, own.rate}, {yard.name, yard.rate}}},
				curve{mode + "-latency", "Latency, " + mode, "clients", "ms", ticks, []line{
					{own.name + " p50", own.p50}, {own.name + " p99", own.p99},
					{yard.name + " p50", yard.p50}, {yard.name + " p99", yard.p99}}})
			r.own.value, r.yard.value = own.rate[len(own.rate)-1], yard.rate[len(yard.rate)-1]
			return r, nil
		}}, err
	}
}

// sample collects one line of each plot.
type sample struct {
	name           string
	rate, p50, p99 []float64
}

func (s *sample) add(got side) {
	s.rate = append(s.rate, got.value)
	s.p50 = append(s.p50, millis(percentile(got.latency, 0.5)))
	s.p99 = append(s.p99, millis(percentile(got.latency, 0.99)))
}
