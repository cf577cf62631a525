package httpserver

import (
	"context"
	"net/http"
	"testing"
	"time"
)

// Profiles are for programs of this machine, exist with --pprof alone, and delay no stop.
func TestProfiles(t *testing.T) {
	ask := func(s *Server, path, name, value string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+path, nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		req.Close = true
		if name != "" {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0 // the server stops
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	off, on := httpServerOf(t, Config{}), httpServerOf(t, Config{Profiles: true})
	if code := ask(off, "/debug/pprof/", "", ""); code != http.StatusNotFound {
		t.Errorf("without --pprof: %d", code)
	}
	for _, c := range []struct {
		name, value string
		want        int
	}{
		{"", "", 200}, {"Sec-Fetch-Site", "none", 200}, {"Sec-Fetch-Site", "cross-site", 403}, {"Sec-Fetch-Site", "same-site", 403},
		{"X-Forwarded-For", "192.0.2.1", 403}, {"Forwarded", "for=192.0.2.1", 403}, {"X-Real-IP", "192.0.2.1", 403},
	} {
		if code := ask(on, "/debug/pprof/heap?debug=1", c.name, c.value); code != c.want {
			t.Errorf("%s %s: %d, want %d", c.name, c.value, code, c.want)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ask(on, "/debug/pprof/trace?seconds=280", "", "") == http.StatusInternalServerError { // a short one runs
			continue
		}
	}()
	for t.Context().Err() == nil { // until the long one is under way: then a short one is refused
		if code := ask(on, "/debug/pprof/trace?seconds=0.001", "", ""); code == http.StatusInternalServerError {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	on.Stop(ctx)
	if ctx.Err() != nil {
		t.Error("the stop waited for a profile")
	}
	<-ended
}
