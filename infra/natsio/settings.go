package natsio

import (
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Restored returns got with those settings of want without which the stream loses or
// refuses messages that it should keep, and names those that differ. Looser settings
// stay, as do sizes, replicas and placement: they are the operator's.
func Restored(got, want jetstream.StreamConfig) (cfg jetstream.StreamConfig, changed []string) {
	cfg = got
	if got.Sealed {
		return cfg, nil // for ever, with the settings that come of it
	}
	tighter := func(got, want int64) bool { return got > 0 && (want <= 0 || got < want) }
	lacks := func(subject string) bool { return !slices.Contains(got.Subjects, subject) }
	for _, s := range []struct {
		name  string
		wrong bool
		set   func()
	}{
		{"subjects", slices.ContainsFunc(want.Subjects, lacks), func() { cfg.Subjects = want.Subjects }},
		{"max_age", tighter(int64(got.MaxAge), int64(want.MaxAge)), func() {
			cfg.MaxAge = want.MaxAge
			cfg.Duplicates = max(cfg.Duplicates, want.Duplicates) // the age has bounded it
		}},
		{"max_msgs", tighter(got.MaxMsgs, want.MaxMsgs), func() { cfg.MaxMsgs = want.MaxMsgs }},
		{"max_msgs_per_subject", tighter(got.MaxMsgsPerSubject, want.MaxMsgsPerSubject), func() { cfg.MaxMsgsPerSubject = want.MaxMsgsPerSubject }},
		{"discard", got.Discard != want.Discard, func() { cfg.Discard = want.Discard }},
		{"no_ack", got.NoAck && !want.NoAck, func() { cfg.NoAck = false }},
		{"max_msg_size", tighter(int64(got.MaxMsgSize), int64(want.MaxMsgSize)), func() { cfg.MaxMsgSize = want.MaxMsgSize }},
		{"subject_transform", want.SubjectTransform != nil && (got.SubjectTransform == nil || *got.SubjectTransform != *want.SubjectTransform),
			func() { cfg.SubjectTransform = want.SubjectTransform }},
		{"allow_msg_schedules", want.AllowMsgSchedules && !got.AllowMsgSchedules, func() { cfg.AllowMsgSchedules = true }},
		{"allow_msg_ttl", want.AllowMsgTTL && !got.AllowMsgTTL, func() { cfg.AllowMsgTTL = true }},
		{"allow_direct", got.AllowDirect != want.AllowDirect, func() { cfg.AllowDirect = want.AllowDirect }},
	} {
		if s.wrong {
			s.set()
			changed = append(changed, s.name)
		}
	}
	return cfg, changed
}
