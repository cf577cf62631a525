// Package support starts the real servers that tests run against and waits for
// what they do. What it starts ends with the test or the process that asked.
package support

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs a package's tests, stops what they share and then looks for leaked
// goroutines: call it from TestMain.
func Main(m *testing.M) {
	goleak.VerifyTestMain(process{m}, goleak.IgnoreTopFunction(cacheCleaner), goleak.IgnoreTopFunction(cacheClock), goleak.Cleanup(func(code int) {
		if err := sweep(); err != nil && code == 0 {
			println("support:", err.Error())
			code = 1
		}
		os.Exit(code)
	}))
}

// cacheCleaner is the goroutine of a cache with expiry. It holds the cache
// weakly and ends by itself some time after that was collected.
const cacheCleaner = "github.com/maypok86/otter/v2.periodicCleanUp[...]"

// cacheClock is the goroutine of such a cache's clock, which ends in the same way.
const cacheClock = "github.com/maypok86/otter/v2.updateCoarseClock"

type process struct{ m *testing.M }

func (p process) Run() int {
	code := p.m.Run()
	stopPostgres()
	return code
}

// Log is a logger into the test's output.
func Log(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// patience bounds every wait for something that is sure to come.
const patience = 20 * time.Second

// Eventually polls until ok, and fails the test when it takes too long.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// Receive takes the next value, and fails the test when none comes.
func Receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case v, open := <-from:
		if !open {
			t.Fatalf("%s: the channel is closed", what)
		}
		return v
	case <-deadline.C:
		t.Fatalf("%s: nothing within %s", what, patience)
	}
	panic("unreachable")
}
