package journal

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// KeepSettings restores the settings of the journal's streams without which they lose
// events, and returns what it has restored. Limits that refuse events instead are the
// operator's.
func (j *Journal) KeepSettings(ctx context.Context) (restored []string, err error) {
	for p := range j.streams {
		err := j.updateConfig(ctx, p, func(cfg *jetstream.StreamConfig) bool {
			want := jetstream.StreamConfig{Subjects: cfg.Subjects, MaxMsgs: cfg.MaxMsgs, Discard: jetstream.DiscardNew,
				Duplicates: history.DuplicateWindow, AllowDirect: true}
			next, changed := natsio.Restored(*cfg, want)
			if !cfg.AllowAtomicPublish {
				next.AllowAtomicPublish, changed = true, append(changed, "allow_atomic")
			}
			for _, name := range changed {
				restored = append(restored, cfg.Name+" "+name)
			}
			*cfg = next
			return len(changed) > 0
		})
		if err != nil {
			return nil, fmt.Errorf("restore the settings of the journal: %w", err)
		}
	}
	return restored, nil
}
