package top

import (
	"context"
	"errors"
	"io"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
)

// Source is where a look comes from.
type Source struct {
	// Status answers queries.engine.status.
	Status func(ctx context.Context) (deployment.Status, error)
	// Metrics opens the page /metrics of the engine at an address. It may be out of reach
	// from another machine.
	Metrics func(ctx context.Context, address string) (io.ReadCloser, error)
}

// look is the state of an engine at one time.
type look struct {
	at      time.Time
	status  deployment.Status
	metrics map[string]*dto.MetricFamily // nil = out of reach
	missing string                       // why
}

func (s Source) look(ctx context.Context) (*look, error) {
	status, err := s.Status(ctx)
	if err != nil {
		return nil, err
	}
	l := &look{status: status}
	page, err := s.Metrics(ctx, status.HTTP)
	l.at = time.Now()
	if err == nil {
		defer page.Close()
		parser := expfmt.NewTextParser(model.UTF8Validation)
		l.metrics, err = parser.TextToMetricFamilies(page)
	}
	if err != nil {
		l.metrics, l.missing = nil, "the metrics at "+status.HTTP+" are out of reach: "+innermost(err).Error()
	}
	return l, nil
}

// innermost is the cause of an error: "connection refused" of an HTTP request.
func innermost(err error) error {
	for cause := errors.Unwrap(err); cause != nil; cause = errors.Unwrap(cause) {
		err = cause
	}
	return err
}

// each calls f for every series of a metric.
func (l *look) each(name string, f func(labels map[string]string, m *dto.Metric)) {
	for _, m := range l.metrics[name].GetMetric() {
		labels := make(map[string]string, len(m.GetLabel()))
		for _, p := range m.GetLabel() {
			labels[p.GetName()] = p.GetValue()
		}
		f(labels, m)
	}
}

// number is the value of a series without labels; found is false when there is none.
func (l *look) number(name string) (v float64, found bool) {
	l.each(name, func(_ map[string]string, m *dto.Metric) { v, found = value(m), true })
	return v, found
}

func value(m *dto.Metric) float64 {
	if m.GetCounter() != nil {
		return m.GetCounter().GetValue()
	}
	return m.GetGauge().GetValue()
}
