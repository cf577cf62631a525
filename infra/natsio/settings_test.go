package natsio_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// TestRestored: settings that lose or refuse messages are restored, looser ones stay:
// engines with different settings do not undo each other's.
func TestRestored(t *testing.T) {
	want := jetstream.StreamConfig{Subjects: []string{"a"}, MaxAge: time.Hour, MaxMsgsPerSubject: 1, AllowDirect: true, AllowMsgSchedules: true, AllowMsgTTL: true,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: "a", Destination: "b"}}
	for name, c := range map[string]struct {
		change  func(*jetstream.StreamConfig)
		changed []string
	}{
		"none":            {func(*jetstream.StreamConfig) {}, nil},
		"as servers say":  {func(cfg *jetstream.StreamConfig) { cfg.MaxMsgs, cfg.MaxBytes = -1, -1 }, nil},
		"more subjects":   {func(cfg *jetstream.StreamConfig) { cfg.Subjects = []string{"a", "b"} }, nil},
		"longer":          {func(cfg *jetstream.StreamConfig) { cfg.MaxAge = 2 * time.Hour }, nil},
		"for ever":        {func(cfg *jetstream.StreamConfig) { cfg.MaxAge = 0 }, nil},
		"a size":          {func(cfg *jetstream.StreamConfig) { cfg.MaxBytes, cfg.Replicas = 1<<20, 3 }, nil},
		"other subjects":  {func(cfg *jetstream.StreamConfig) { cfg.Subjects = []string{"b"} }, []string{"subjects"}},
		"shorter":         {func(cfg *jetstream.StreamConfig) { cfg.MaxAge = time.Minute }, []string{"max_age"}},
		"fewer messages":  {func(cfg *jetstream.StreamConfig) { cfg.MaxMsgs = 10 }, []string{"max_msgs"}},
		"drops or not":    {func(cfg *jetstream.StreamConfig) { cfg.Discard = jetstream.DiscardNew }, []string{"discard"}},
		"no acks":         {func(cfg *jetstream.StreamConfig) { cfg.NoAck = true }, []string{"no_ack"}},
		"smaller":         {func(cfg *jetstream.StreamConfig) { cfg.MaxMsgSize = 10 }, []string{"max_msg_size"}},
		"as they came":    {func(cfg *jetstream.StreamConfig) { cfg.SubjectTransform = nil }, []string{"subject_transform"}},
		"no schedules":    {func(cfg *jetstream.StreamConfig) { cfg.AllowMsgSchedules, cfg.AllowMsgTTL = false, false }, []string{"allow_msg_schedules", "allow_msg_ttl"}},
		"sealed":          {func(cfg *jetstream.StreamConfig) { cfg.Sealed, cfg.MaxAge, cfg.Discard = true, 0, jetstream.DiscardNew }, nil},
		"no direct reads": {func(cfg *jetstream.StreamConfig) { cfg.AllowDirect = false }, []string{"allow_direct"}},
	} {
		got := want
		c.change(&got)
		cfg, changed := natsio.Restored(got, want)
		if !slices.Equal(changed, c.changed) {
			t.Errorf("%s: %q, want %q", name, changed, c.changed)
		}
		if _, again := natsio.Restored(cfg, want); len(again) > 0 {
			t.Errorf("%s: %q is not restored", name, again)
		}
	}
}
