package deployment

import (
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
func StartNATS(cfg embedded.Config, prefix string) (*embedded.Server, error) {
	root := natsio.NewSubjects(prefix)
	cfg.Streams = []string{"EVENTS", "KV_" + quarantine.BucketName}
	for p := range maxPartitions {
		cfg.Streams = append(cfg.Streams, natsio.StreamName(p, maxPartitions))
	}
	cfg.Private = []string{
		root.Root("events."), quarantine.SubjectPrefix, natsio.IntakeRoot,
		root.Root("outcomes."), root.Root("deadletters."), root.Root("timers."), root.Root("engines."),
	}
	return embedded.Start(cfg)
}
