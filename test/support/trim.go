package support

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// Trim removes superseded events up to a revision from the stream of a journal
// as engine archive trim does: it writes the mark first. The archive must
// contain them.
func Trim(t testing.TB, js jetstream.JetStream, name string, cut uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := js.Stream(ctx, name)
	harness.Must(t, err)
	cfg := s.CachedInfo().Config
	cfg.Metadata["tidemark.trimmed"] = strconv.FormatUint(cut, 10)
	if s, err = js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
	harness.Must(t, err)
	for subject, n := range info.State.Subjects {
		if n == 1 {
			continue
		}
		last, err := s.GetLastMsgForSubject(ctx, subject)
		harness.Must(t, err)
		// Purge removes the messages below the sequence.
		harness.Must(t, s.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(min(cut+1, last.Sequence))))
	}
}
