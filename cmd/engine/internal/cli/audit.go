package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
)

// recordAct records in the audit what the operator does. What cannot be recorded is done
// all the same: a repair must not depend on it.
func recordAct(ctx context.Context, nc *nats.Conn, t *deployment.Target, action, detail string) {
	a, err := principals.OpenAudit(ctx, nc, t.Subjects())
	if err == nil {
		err = a.Act(ctx, t.Actor(), action, detail)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "engine: not recorded in the audit: "+Escape(message(err)))
	}
}
