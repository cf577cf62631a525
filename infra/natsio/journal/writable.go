package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Writable asks each partition whether it takes events; nil = it does, if there is room
// (Guard.Room).
func (j *Journal) Writable(ctx context.Context) error {
	for p := range j.streams {
		err := natsio.Writable(ctx, j.nc, j.publish[p]+"writable")
		if errors.Is(err, nats.ErrNoResponders) {
			return fmt.Errorf("the stream %s does not take events: its subjects are other ones; the engine restores them unless an import is under way",
				natsio.StreamName(p, len(j.streams)))
		}
		if err != nil {
			return appendError(err)
		}
	}
	return nil
}
