package logs_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/internal/logs"
)

// TestLimited: however often a client causes a line, a second has one, which
// says how many were left out.
func TestLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := logs.NewLimited(slog.New(slog.NewTextHandler(&out, nil)), logs.ByClients)
		for range 39_000 {
			log.Warn("again", "subject", strings.Repeat("x", 1000))
		}
		if n := strings.Count(out.String(), "\n"); n != 10 {
			t.Errorf("%d lines at once", n)
		}
		out.Reset()
		time.Sleep(time.Second) // of the synthetic clock
		log.Error("again")
		if text := out.String(); !strings.Contains(text, "lines_left_out=38990") {
			t.Error(text)
		}
	})
}
