package harness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go/jetstream"
)

// Must ends the test when err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Mustf is Must that says what failed.
func Mustf(t testing.TB, err error, format string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// Patience bounds the wait for something that must happen. It is no promise of
// the engine: a slow machine may need most of it.
const Patience = 60 * time.Second

// Patient gives a JetStream client Patience for each request; its own 5 s are too few beside a load.
var Patient = jetstream.WithDefaultTimeout(Patience)

// Condition is a question that a test repeats: it holds when the function
// returns true, or no error.
type Condition interface{ func() bool | func() error }

// Eventually repeats a condition until it holds, and ends the test with the last
// error if it does not within Patience.
func Eventually[C Condition](t testing.TB, what string, holds C) {
	t.Helper()
	Within(t, Patience, what, holds)
}

// Within is Eventually with another bound: for what the engine promises within a
// time, and for what takes longer.
func Within[C Condition](t testing.TB, d time.Duration, what string, holds C) {
	t.Helper()
	var ask func() error
	switch f := any(holds).(type) {
	case func() error:
		ask = f
	case func() bool:
		ask = func() error {
			if !f() {
				return errors.New("false")
			}
			return nil
		}
	}
	if err := within(d, ask); err != nil {
		t.Fatalf("not within %s: %s: %v", d, what, err)
	}
}

// within repeats f, first after a millisecond, later every 20.
func within(d time.Duration, f func() error) error {
	limit := time.NewTimer(d)
	defer limit.Stop()
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-limit.C:
			return err
		case <-time.After(pause):
		}
	}
}

// Receive takes the next value from a channel, and ends the test if none comes
// within Patience.
func Receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	limit := time.NewTimer(Patience)
	defer limit.Stop()
	select {
	case v, open := <-from:
		if !open {
			t.Fatalf("%s: the channel is closed", what)
		}
		return v
	case <-limit.C:
		t.Fatalf("%s: nothing within %s", what, Patience)
	}
	panic("unreachable")
}

// Log is a logger into the test's output, from level warn on.
func Log(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// Exec runs an SQL statement that must succeed, and returns how many rows it
// affected.
func Exec(t testing.TB, db Execer, sql string, args ...any) int64 {
	t.Helper()
	tag, err := db.Exec(t.Context(), sql, args...)
	Mustf(t, err, "%s", sql)
	return tag.RowsAffected()
}

// Execer is a connection, a pool or a transaction of pgx.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}
