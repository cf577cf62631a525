package harness

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
)

// WholeRun is the testing.TB of a whole test process, for what its tests and examples
// share: its cleanups run after the last of them, and an error fails the run.
func WholeRun() testing.TB { return wholeRun }

var wholeRun = &wholeRunTB{}

func init() {
	AtExit(func() error {
		if wholeRun.Failed() {
			return fmt.Errorf("%d errors", wholeRun.errors.Load())
		}
		return nil
	})
}

type wholeRunTB struct {
	testing.TB
	errors atomic.Int64
}

func (t *wholeRunTB) Helper()      {}
func (t *wholeRunTB) Name() string { return "whole run" }
func (t *wholeRunTB) Failed() bool { return t.errors.Load() > 0 }

func (t *wholeRunTB) Cleanup(f func()) { AtExit(func() error { f(); return nil }) }

func (t *wholeRunTB) Log(args ...any)                 { fmt.Fprintln(os.Stderr, args...) }
func (t *wholeRunTB) Logf(format string, args ...any) {} // progress of a run that may pass

func (t *wholeRunTB) Error(args ...any) {
	t.errors.Add(1)
	t.Log(args...)
}

func (t *wholeRunTB) Errorf(format string, args ...any) { t.Error(fmt.Sprintf(format, args...)) }
func (t *wholeRunTB) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (t *wholeRunTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
