package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// summary aggregates one side over all rounds.
type summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	P50    float64 `json:"p50_us,omitempty"` // of single operations, in microseconds
	P99    float64 `json:"p99_us,omitempty"`
}

// result is the outcome of a cell.
type result struct {
	Name      string  `json:"name"`
	What      string  `json:"what"`
	Yardstick string  `json:"yardstick"`
	Unit      string  `json:"unit"`
	Own       summary `json:"own"`
	Yard      summary `json:"yard"`
	Ratio     float64 `json:"ratio"` // median of the rounds' own ratios
	RatioMin  float64 `json:"ratio_min"`
	RatioMax  float64 `json:"ratio_max"`
	Rounds    int     `json:"rounds"`
	Target    float64 `json:"target,omitempty"`
	AtMost    bool    `json:"at_most,omitempty"`
	Note      string  `json:"note,omitempty"`
	Missing   string  `json:"missing,omitempty"` // why there are no figures
}

// take sets the summaries from the rounds.
func (r *result) take(rounds []round) {
	var own, yard []side
	var ratios []float64
	for _, p := range rounds {
		own, yard = append(own, p.own), append(yard, p.yard)
		if p.yard.value > 0 {
			ratios = append(ratios, p.own.value/p.yard.value)
		}
		if p.note != "" {
			r.Note = p.note
		}
	}
	r.Rounds, r.Own, r.Yard = len(rounds), summarize(own), summarize(yard)
	if len(ratios) > 0 {
		r.Ratio, r.RatioMin, r.RatioMax = median(ratios), slices.Min(ratios), slices.Max(ratios)
	}
}

func summarize(sides []side) (s summary) {
	var values []float64
	var all []time.Duration
	for _, p := range sides {
		values, all = append(values, p.value), append(all, p.latency...)
	}
	s.Median, s.Min, s.Max = median(values), slices.Min(values), slices.Max(values)
	s.P50, s.P99 = micros(percentile(all, 0.50)), micros(percentile(all, 0.99))
	return s
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// percentile sorts all and returns the value at p, 0 to 1; 0 when all is empty.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.SortFunc(all, cmp.Compare[time.Duration])
	return all[min(int(float64(len(all))*p), len(all)-1)]
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// verdict returns the target and whether it is met, as text.
func (r *result) verdict() (target, met string) {
	switch {
	case r.Target == 0:
		return "–", "–"
	case r.AtMost:
		target, met = "≤ "+number(r.Target), "**no**"
		if r.Ratio <= r.Target {
			met = "yes"
		}
	default:
		target, met = "≥ "+number(r.Target), "**no**"
		if r.Ratio >= r.Target {
			met = "yes"
		}
	}
	if r.Missing != "" {
		met = "–"
	}
	return target, met
}

// line is the one-line progress output of a cell.
func (r *result) line() string {
	if r.Missing != "" {
		return "not available: " + r.Missing
	}
	target, met := r.verdict()
	line := fmt.Sprintf("%s %s beside %s: %s × (target %s: %s)",
		number(r.Own.Median), r.Unit, number(r.Yard.Median), number(r.Ratio), target, strings.Trim(met, "*"))
	if r.Note != "" {
		line += "; " + r.Note
	}
	return line
}

// number formats a figure with two to four significant digits; 0 is "–".
func number(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v >= 1000:
		return group(fmt.Sprintf("%.0f", v))
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}

// group separates thousands with commas.
func group(digits string) string {
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
