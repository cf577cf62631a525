package deploy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// memory is a storage of a few series, one sample a minute.
type memory map[string]*storage.SeriesEntry

type sample struct {
	at    int64
	value float64
}

func (s sample) ST() int64                     { return 0 }
func (s sample) T() int64                      { return s.at }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// parse reads series in the notation of promtool's tests.
func parse(t *testing.T, text string) memory {
	t.Helper()
	m := memory{}
	for line := range strings.Lines(strings.TrimSpace(text)) {
		lset, values, err := promqlParser.ParseSeriesDesc(strings.TrimSpace(line))
		must(t, err)
		var samples []chunks.Sample
		for i, v := range values {
			if !v.Omitted {
				samples = append(samples, sample{int64(i) * time.Minute.Milliseconds(), v.Value})
			}
		}
		m[lset.String()] = storage.NewListSeries(lset, samples)
	}
	return m
}

// with replaces the series that more has too.
func (m memory) with(more memory) memory {
	all := memory{}
	for _, from := range []memory{m, more} {
		for name, s := range from {
			all[name] = s
		}
	}
	return all
}

func (m memory) Querier(int64, int64) (storage.Querier, error) { return querier{m}, nil }

type querier struct{ memory }

func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found := &set{}
	for _, s := range q.memory {
		matches := true
		for _, m := range matchers {
			matches = matches && m.Matches(s.Labels().Get(m.Name))
		}
		if matches {
			found.series = append(found.series, s)
		}
	}
	return found
}

func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) Close() error { return nil }

type set struct {
	series []storage.Series
	at     int
}

func (s *set) Next() bool                        { s.at++; return s.at <= len(s.series) }
func (s *set) At() storage.Series                { return s.series[s.at-1] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

// engineHolds reports whether an alert's expression has a result at a minute.
func engineHolds(t *testing.T, engine *promql.Engine, m memory, expr string, minute int) bool {
	t.Helper()
	q, err := engine.NewInstantQuery(t.Context(), m, nil, expr, time.Unix(int64(minute)*60, 0))
	must(t, err)
	defer q.Close()
	result := q.Exec(t.Context())
	must(t, result.Err)
	vector, err := result.Vector()
	must(t, err)
	return len(vector) > 0
}
