package projections_test

import (
	"bytes"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections"
)

var batching = projections.Batching{Threshold: 3, Interval: 20 * time.Millisecond, Max: 5}

func TestABatchIsWrittenWhenFullOrDue(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.settle()
		x.source.send(1, 3) // the threshold
		x.settle()
		x.source.send(4, 4)
		x.pass(19 * time.Millisecond)
		x.source.send(5, 5) // does not delay the batch
		x.pass(time.Second)
		x.source.send(6, 17) // more than one batch takes
		x.pass(time.Second)
		want := []batch{
			{0, 3, 0, 3}, {3, 5, 20 * time.Millisecond, 2}, {5, 10, 1019 * time.Millisecond, 5},
			{10, 15, 1019 * time.Millisecond, 5}, {15, 17, 1039 * time.Millisecond, 2},
		}
		if !reflect.DeepEqual(x.target.batches, want) {
			t.Errorf("got %v\nwant %v", x.target.batches, want)
		}
		if x.Progress.At(0) != 17 || x.Status(17, time.Now()).State != projections.Running {
			t.Errorf("at %d, %+v", x.Progress.At(0), x.Status(17, time.Now()))
		}
	})
}

func TestWithoutAnIntervalABatchIsWrittenAtOnce(t *testing.T) {
	onBench(t, projections.Batching{Max: 100}, func(x *bench) {
		x.settle()
		x.source.send(1, 1)
		x.settle()
		x.source.send(2, 4)
		x.settle()
		if len(x.target.batches) < 2 || x.target.position != 4 || x.target.batches[0].at != 0 {
			t.Errorf("%+v", x.target.batches)
		}
	})
}

// Large events are written in small batches, bounded in bytes.
func TestABatchIsBoundedInBytes(t *testing.T) {
	onBench(t, projections.Batching{Threshold: 100, Interval: 20 * time.Millisecond, Max: 100}, func(x *bench) {
		x.settle()
		for r := uint64(1); r <= 7; r++ {
			m := event("k", r)
			m.Body = make([]byte, 12<<20) // the third goes beyond 32 MiB
			x.source.put(m)
		}
		x.pass(time.Second)
		var took []uint64
		for _, b := range x.target.batches {
			took = append(took, b.to-b.from)
		}
		if !slices.Equal(took, []uint64{3, 3, 1}) {
			t.Errorf("batches of %v", took)
		}
	})
}

// After a large batch the next events are collected, whatever the threshold; after a small one
// they are not.
func TestUnderLoadEventsAreCollected(t *testing.T) {
	busy := projections.Batching{Threshold: 33, Interval: 20 * time.Millisecond, Busy: 100 * time.Millisecond, Max: 50}
	onBench(t, busy, func(x *bench) {
		x.settle()
		x.source.send(1, 31) // below busyBatch
		x.pass(20 * time.Millisecond)
		x.source.send(32, 64)
		x.settle()
		x.source.send(65, 67)
		x.pass(99 * time.Millisecond)
		x.source.send(68, 69)
		x.pass(time.Millisecond)
		x.source.send(70, 72)
		x.pass(time.Second)
		want := []batch{
			{0, 31, 20 * time.Millisecond, 31}, {31, 64, 20 * time.Millisecond, 33},
			{64, 69, 120 * time.Millisecond, 5}, {69, 72, 140 * time.Millisecond, 3},
		}
		if !reflect.DeepEqual(x.target.batches, want) {
			t.Errorf("got %v\nwant %v", x.target.batches, want)
		}
	})
}

// A reader that ends within a batch neither repeats nor loses events.
func TestAReaderThatEndsMidBatch(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.settle()
		x.source.send(1, 2)
		close(x.source.out)
		x.pass(time.Second)
		x.source.send(3, 3)
		close(x.source.out)
		x.pass(time.Minute)
		x.source.send(4, 6)
		x.pass(time.Minute)
		at := uint64(0)
		for _, b := range x.target.batches {
			if b.from != at || b.to <= b.from || b.rows != int(b.to-b.from) {
				t.Errorf("%+v after %d", b, at)
			}
			at = b.to
		}
		if at != 6 || !slices.Equal(x.source.reads[:3], []uint64{0, 2, 3}) {
			t.Errorf("at %d, read after %v", at, x.source.reads)
		}
	})
}

func TestASilentReaderIsNoticed(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.pass(time.Minute)
		if len(x.source.reads) != 1 {
			t.Fatalf("an idle journal is read %d times", len(x.source.reads))
		}
		x.source.mu.Lock()
		x.source.head = 2 // and the reader stays silent
		x.source.mu.Unlock()
		x.pass(4 * time.Second) // two checks: at the first, the event may just have been appended
		if s := x.Status(2, time.Now()); s.State != projections.Waiting || !strings.Contains(s.Reason, "silent at 0 while the journal is at 2") {
			t.Errorf("%+v", s)
		}
		x.pass(10 * time.Second)
		if len(x.source.reads) < 2 {
			t.Error("the journal was not read again")
		}
		x.source.send(1, 2)
		x.pass(time.Second)
		if x.target.position != 2 {
			t.Errorf("at %d", x.target.position)
		}
	})
}

func TestAnUnavailableTargetOnlyLags(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		unavailable := func(func() error) error { return errors.New("connection refused") }
		x.target.wrong = []func(func() error) error{unavailable, unavailable, unavailable}
		x.settle()
		x.source.send(1, 3)
		x.settle()
		if s := x.Status(3, time.Now().Add(2*time.Second)); s.State != projections.Waiting || !strings.Contains(s.Reason, "connection refused") ||
			s.Position != 0 || s.Head != 3 || s.LagEvents != 3 || s.LagSeconds < 2 || s.LagSeconds > 10 {
			t.Errorf("%+v", s)
		}
		x.pass(time.Minute)
		if len(x.target.batches) != 1 || x.target.position != 3 || len(x.source.reads) != 1 {
			t.Errorf("%+v, read %v", x.target.batches, x.source.reads)
		}
		if s := x.Status(3, time.Now()); s.State != projections.Running || s.Reason != "" || s.LagEvents != 0 || s.LagSeconds != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAViewThatWaitsAgainAndAgainSaysSoSeldom(t *testing.T) {
	onBench(t, projections.Batching{Threshold: 1, Max: 1}, func(x *bench) {
		var log bytes.Buffer
		x.Log = slog.New(slog.NewTextHandler(&log, nil))
		for range 600 { // each second write fails
			x.target.wrong = append(x.target.wrong, func(func() error) error { return errors.New("connection refused") }, func(store func() error) error { return store() })
		}
		x.settle()
		for n := range uint64(600) {
			x.source.send(n+1, n+1)
			x.pass(100 * time.Millisecond)
		}
		x.pass(time.Second)
		if n := strings.Count(log.String(), "\n"); x.target.position != 600 || n < 10 || n > 20 {
			t.Errorf("at %d, %d log lines in a minute:\n%.1000s", x.target.position, n, log.String())
		}
	})
}

func TestALostAnswerIsResolvedByLoad(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.target.wrong = []func(func() error) error{
			func(store func() error) error { return errors.Join(errors.New("no answer"), store()) },
		}
		x.settle()
		x.source.send(1, 3)
		x.pass(time.Minute)
		x.source.send(4, 6)
		x.pass(time.Minute)
		if len(x.target.batches) != 2 || x.target.position != 6 || len(x.source.reads) != 1 || x.Progress.At(0) != 6 {
			t.Errorf("%+v, read %v", x.target.batches, x.source.reads)
		}
	})
}

func TestAMovedCheckpointIsReadAgain(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.settle()
		x.source.mu.Lock()
		x.source.head = 9
		x.source.mu.Unlock()
		x.target.mu.Lock()
		x.target.position = 2 // by another process
		x.target.mu.Unlock()
		x.source.send(1, 3)
		x.pass(5 * time.Second) // less than what makes a silent reader be opened again
		if len(x.target.batches) != 0 || x.source.reads[len(x.source.reads)-1] != 2 {
			t.Fatalf("%+v, read after %v", x.target.batches, x.source.reads)
		}
		x.source.send(3, 9)
		x.pass(time.Minute)
		if x.target.position != 9 {
			t.Errorf("at %d", x.target.position)
		}
	})
}

func TestAForeignJournalHalts(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		x.target.loadErr = history.ErrForeignJournal
		x.pass(time.Hour)
		if s := x.Status(0, time.Now()); s.State != projections.Halted || !strings.Contains(s.Reason, "another journal") || len(x.source.reads) > 0 {
			t.Errorf("%+v, read after %v", s, x.source.reads)
		}
		x.target.mu.Lock()
		x.target.loadErr = nil // the operator has decided
		x.target.mu.Unlock()
		x.pass(time.Minute)
		if s := x.Status(0, time.Now()); s.State != projections.Running {
			t.Errorf("%+v", s)
		}
	})
	onBench(t, batching, func(x *bench) {
		x.target.position, x.source.head = 7, 6
		x.pass(time.Hour)
		s := x.Status(6, time.Now())
		if s.State != projections.Halted || !strings.Contains(s.Reason, "the view is at 7, the journal ends at 6") || len(x.source.reads) > 0 {
			t.Errorf("%+v, read after %v", s, x.source.reads)
		}
	})
	onBench(t, batching, func(x *bench) {
		x.target.wrong = []func(func() error) error{func(func() error) error { return history.ErrForeignJournal }}
		x.settle()
		x.source.send(1, 3)
		x.pass(time.Second)
		if s := x.Status(3, time.Now()); s.State != projections.Halted || s.Position != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A view that halts again as soon as it applies an event does not fill the log.
func TestAViewThatHaltsAgainAndAgain(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		var log bytes.Buffer
		x.Log = slog.New(slog.NewTextHandler(&log, nil))
		for range 100 {
			x.target.wrong = append(x.target.wrong, func(func() error) error { return history.ErrForeignJournal })
		}
		x.settle()
		for range 50 {
			x.source.send(1, 3) // as a new reader delivers them again
			x.pass(3 * time.Second)
		}
		x.stop()
		<-x.ended
		if halted := strings.Count(log.String(), "view halted"); halted < 10 || halted > 20 {
			t.Errorf("%d lines say that the view halted, in two and a half minutes", halted)
		}
	})
}

func TestAStopFlushesCollectedEvents(t *testing.T) {
	onBench(t, projections.Batching{Threshold: 100, Interval: time.Hour, Max: 100}, func(x *bench) {
		x.settle()
		x.source.send(1, 7)
		x.settle()
		x.stop()
		<-x.ended
		if x.target.position != 7 || !x.target.alive {
			t.Errorf("at %d, its context was alive: %t", x.target.position, x.target.alive)
		}
	})
}

func TestAnUnavailableTargetDoesNotDelayAStop(t *testing.T) {
	onBench(t, batching, func(x *bench) {
		for range 100 {
			x.target.wrong = append(x.target.wrong, func(func() error) error { return errors.New("unavailable") })
		}
		x.settle()
		x.source.send(1, 3)
		x.pass(10 * time.Second)
		x.stop()
		x.settle()
		select {
		case <-x.ended:
		default:
			t.Error("still running")
		}
	})
}

func TestProgressWakesWaiters(t *testing.T) {
	p := projections.NewProgress(2)
	reached := make(chan bool, 2)
	for _, at := range []uint64{3, 5} {
		go func() { reached <- p.Wait(t.Context(), 1, at) }()
	}
	p.Set(0, 9)
	p.Set(1, 2)
	p.Set(1, 4)
	if !<-reached {
		t.Error("4 is not 3")
	}
	p.Set(1, 1) // never decreases
	if p.At(1) != 4 || !reflect.DeepEqual(p.All(), []uint64{9, 4}) {
		t.Errorf("%v", p.All())
	}
	p.Set(1, 5)
	if !<-reached {
		t.Error("5 is not 5")
	}
}
