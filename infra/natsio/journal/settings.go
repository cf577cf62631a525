package journal

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// KeepSettings restores the settings of the journal's streams without which they lose
// events or take none, and returns what it has restored. Limits that refuse events are the
// operator's, and an import keeps other subjects until its end.
func (j *Journal) KeepSettings(ctx context.Context) (restored []string, err error) {
	for p := range j.streams {
		err := j.updateConfig(ctx, p, func(cfg *jetstream.StreamConfig) bool {
			if cfg.Metadata[metaImporting] != "" || strings.ToLower(cfg.Metadata[metaIncarnation]) != j.incarnation {
				return false
			}
			intake := j.publish[p] + ">"
			want := jetstream.StreamConfig{Subjects: []string{intake}, MaxMsgs: cfg.MaxMsgs, MaxMsgSize: cfg.MaxMsgSize, Discard: jetstream.DiscardNew,
				Duplicates: history.DuplicateWindow, AllowDirect: true,
				SubjectTransform: &jetstream.SubjectTransformConfig{Source: intake, Destination: j.root + ">"}}
			next, changed := natsio.Restored(*cfg, want)
			if !cfg.AllowAtomicPublish && !cfg.Sealed {
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
