package deployment

import (
	"log/slog"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
)

// maxPartitions is the largest number of partitions that a journal can have.
const maxPartitions = 64

// StartNATS starts the embedded NATS server on a data directory. Only the
// engine's own connections may publish on the subjects of the journal, the
// quarantine, the outcomes, the dead letters, the timers and the engines'
// broadcasts.
func StartNATS(data, listen, prefix string, synced bool, l embedded.Limits, log *slog.Logger) (*embedded.Server, error) {
	root := natsio.NewSubjects(prefix)
	streams := []string{"EVENTS", "KV_" + quarantine.BucketName}
	for p := range maxPartitions {
		streams = append(streams, natsio.StreamName(p, maxPartitions))
	}
	return embedded.Start(embedded.Config{
		Dir: data, Listen: listen, Synced: synced, Streams: streams, Limits: l, Log: log,
		Private: []string{
			root.Root("events."), quarantine.SubjectPrefix, natsio.IntakeRoot,
			root.Root("outcomes."), root.Root("deadletters."), root.Root("timers."), root.Root("engines."),
		},
	})
}
