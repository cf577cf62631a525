package harness

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package; TestMain calls it. After the tests it runs
// the functions that AtExit registered, in reverse order, and then fails the run
// if a goroutine is left. In a process of StartNATSServer it runs that server.
func Main(m *testing.M) {
	if config := os.Getenv(serverConfig); config != "" {
		if err := serveNATS(config); err != nil {
			fmt.Fprintln(os.Stderr, "run a NATS server:", err)
			os.Exit(1)
		}
		return
	}
	useMemory()
	goleak.VerifyTestMain(tests{m}, goleak.IgnoreTopFunction(cacheCleaner), goleak.IgnoreTopFunction(cacheClock),
		goleak.IgnoreTopFunction(sourceSetup))
}

// The goroutines of a cache with expiry. They hold the cache weakly and end some
// time after the garbage collector has taken it.
const (
	cacheCleaner = "github.com/maypok86/otter/v2.periodicCleanUp[...]"
	cacheClock   = "github.com/maypok86/otter/v2.updateCoarseClock"
)

// sourceSetup waits up to half a minute for the reply of a consumer of a stream's
// source, also after the embedded server has stopped.
const sourceSetup = "github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"

var atExit struct {
	sync.Mutex
	functions []func() error
}

// AtExit registers a function that Main runs after the last test: it ends what
// the tests of a process share.
func AtExit(f func() error) {
	atExit.Lock()
	defer atExit.Unlock()
	atExit.functions = append(atExit.functions, f)
}

type tests struct{ m *testing.M }

func (t tests) Run() int {
	code := t.m.Run()
	atExit.Lock()
	defer atExit.Unlock()
	var errs []error
	for _, f := range slices.Backward(atExit.functions) {
		errs = append(errs, f())
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintf(os.Stderr, "clean up after the tests: %v\n", err)
		code = max(code, 1)
	}
	return code
}
