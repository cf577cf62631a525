package observe_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// topOnce: where there is no terminal, top prints one snapshot.
func (w *world) topOnce(t *testing.T) {
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() { // so that there is something to count
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := w.c.Set(t.Context(), "busy", "k", n, nil); err != nil {
				t.Errorf("a write while top looks: %v", err)
				return
			}
		}
	})
	r := w.Run("top", "--json", "--interval", "2s")
	close(stop)
	writing.Wait()
	var s struct {
		Ready bool `json:"ready"`
		Views []struct {
			Name  string `json:"name"`
			State string `json:"state"`
		} `json:"views"`
		Rates struct {
			Commands float64  `json:"commands_per_second"`
			Appends  float64  `json:"appends_per_second"`
			P50      *float64 `json:"command_p50_seconds"`
			P99      *float64 `json:"command_p99_seconds"`
		} `json:"rates"`
		Counts struct {
			Journal     float64            `json:"journal_bytes"`
			Stuck       *float64           `json:"tasks_stuck"`
			DeadLetters map[string]float64 `json:"dead_letters"`
		} `json:"counts"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil || r.Code != 0 {
		t.Fatalf("top --json: %v, %+v", err, r)
	}
	if !s.Ready || len(s.Views) < 5 || s.Rates.Commands <= 0 || s.Rates.Appends <= 0 || s.Rates.P50 == nil || s.Rates.P99 == nil || *s.Rates.P50 > *s.Rates.P99 ||
		s.Counts.Journal <= 0 || s.Counts.Stuck == nil || s.Counts.DeadLetters == nil {
		t.Errorf("top --json: %s", r.Stdout)
	}
	text := w.Run("top", "--interval", "100ms")
	for _, word := range []string{"ready", "commands", "tiers", "dead letters", "none", "durable", "hot", "journal"} {
		if !strings.Contains(text.Stdout, word) {
			t.Errorf("top shows no %q:\n%s", word, text.Stdout)
		}
	}
	if strings.Contains(text.Stdout, "\x1b") {
		t.Errorf("top colours what is no terminal: %q", text.Stdout)
	}
	if r := w.Run("top", "--interval", "1ms"); r.Code != 2 || !strings.Contains(r.Stderr, "--interval") {
		t.Errorf("top --interval 1ms: %+v", r)
	}
}

// screen collects what a program draws.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) has(word string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), word)
}

// topLive: on a terminal top draws until q is pressed.
func (w *world) topLive(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), "top", "--data", w.Data, "--interval", "200ms") //nolint:gosec // the program under test
	cmd.Env = append(cmd.Environ(), "TERM=xterm-256color")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	harness.Must(t, err)
	defer terminal.Close()
	var drawn screen
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := terminal.Read(buf)
			_, _ = drawn.Write(buf[:n]) // never fails
			if err != nil {
				return // the program has ended
			}
		}
	})
	for _, word := range []string{"Tidemark", "commands", "durable", "q quits", "\x1b["} {
		harness.Within(t, time.Minute, "top draws "+word, func() bool { return drawn.has(word) })
	}
	_, err = terminal.Write([]byte("q"))
	harness.Must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := harness.Receive(t, "top ends after q", ended); err != nil {
		t.Errorf("top ended with %v", err)
	}
	reading.Wait()
}
