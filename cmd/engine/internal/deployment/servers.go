package deployment

import (
	"strings"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
)

// StartNATS starts the embedded NATS server on a data directory. With cfg.Auth
// it admits only principals; otherwise clients without any share the account DEV.
// Streams and subjects of the engine are in an account of its own; clients hear
// at once that they may not publish there.
func StartNATS(cfg embedded.Config, prefix string) (*embedded.Server, error) {
	root := natsio.NewSubjects(prefix)
	private := []string{
		root.Root("events."), quarantine.SubjectPrefix, natsio.IntakeRoot,
		root.Root("deadletters."), root.Root("timers."), root.Root("engines."), root.Root("lanes."),
	}
	for _, stream := range auth.Streams {
		if bucket, ok := strings.CutPrefix(stream, "KV_"); ok {
			private = append(private, "$KV."+bucket+".")
		}
	}
	cfg.Prefix, cfg.ReadRaw, cfg.Private, cfg.Journal = root.Root(""), auth.Streams, private, "EVENTS"
	return embedded.Start(cfg)
}
