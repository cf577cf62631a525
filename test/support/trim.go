package support

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Trim takes what is superseded out of a journal's stream up to a revision, the
// mark first, as engine archive trim does. The archive must have it.
func Trim(t testing.TB, js jetstream.JetStream, name string, cut uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := js.Stream(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Metadata["tidemark.trimmed"] = strconv.FormatUint(cut, 10)
	if s, err = js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	for subject, n := range info.State.Subjects {
		if n == 1 {
			continue
		}
		last, err := s.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			t.Fatal(err)
		}
		// What is below the sequence goes.
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(min(cut+1, last.Sequence))); err != nil {
			t.Fatal(err)
		}
	}
}
