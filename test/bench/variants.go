package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"
)

// variant is a configuration of the engine.
type variant struct {
	nats      string // URLs of external servers; empty = embedded
	flags     []string
	env       []string
	principal string // whose credentials the clients have; empty = none
	watched   bool   // the console's overview is open
}

var (
	relaxed = variant{flags: []string{"--durability", "relaxed"}}
	synced  = variant{flags: []string{"--durability", "synced"}}
	// identified has clients with the credentials of a principal.
	identified = variant{flags: []string{"--durability", "relaxed", "--auth", "on"}, principal: "bench"}
	watched    = variant{flags: []string{"--durability", "relaxed"}, watched: true}
)

// openVariants compares the rate of commands of two configurations of the engine. Both run,
// and one of them at a time has a load.
func openVariants(own, yard variant, clients int) func(ctx context.Context, b *bench) (player, error) {
	return func(ctx context.Context, b *bench) (_ player, err error) {
		b.stop()
		var engines []*engine
		var ends []func()
		stop := func() {
			for _, end := range ends {
				end()
			}
			for _, e := range engines {
				e.stop()
				_ = os.RemoveAll(e.room)
			}
		}
		for _, v := range []variant{own, yard} {
			dir, err := tempDir()
			if err != nil {
				stop()
				return nil, err
			}
			e, err := b.startAs(ctx, v, "", filepath.Join(dir, "data"))
			if err != nil {
				stop()
				_ = os.RemoveAll(dir)
				return nil, err
			}
			e.room = dir
			engines = append(engines, e)
			if v.watched {
				end, err := openOverview(ctx, e)
				if err != nil {
					stop()
					return nil, err
				}
				ends = append(ends, end)
			}
		}
		return funcPlayer{cleanup: stop, play: func(ctx context.Context, n int) (round, error) {
			var note string
			r, err := alternate(n, func() (s side, err error) {
				s, note, err = sets(ctx, engines[0], clients, b.size.lasts)
				return s, err
			}, func() (s side, err error) {
				s, _, err = sets(ctx, engines[1], clients, b.size.lasts)
				return s, err
			})
			r.note = note
			return r, err
		}}, nil
	}
}

// openTraced compares the rate of commands of which one in a hundred is traced with that
// of an engine without traces.
func openTraced(ctx context.Context, b *bench) (player, error) {
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	traced := relaxed
	traced.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01"}
	p, err := openVariants(traced, relaxed, 64)(ctx, b)
	if err != nil {
		collector.Close()
		return nil, err
	}
	return funcPlayer{play: p.round, cleanup: func() {
		p.close()
		collector.Close()
	}}, nil
}

// openOverview follows the overview of the console as its page does, and fails the
// measurement if the page sends nothing.
func openOverview(ctx context.Context, e *engine) (end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.http+"/", nil)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		cancel()
		return nil, err
	}
	began, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		if n, _ := resp.Body.Read(buf); n > 0 {
			close(began)
		}
		_, _ = io.CopyBuffer(io.Discard, resp.Body, buf)
	}()
	end = func() {
		cancel()
		<-done
		resp.Body.Close()
	}
	select {
	case <-began:
		return end, nil
	case <-time.After(10 * time.Second):
		end()
		return nil, errors.New("the overview of the console sends nothing: " + resp.Status)
	}
}
