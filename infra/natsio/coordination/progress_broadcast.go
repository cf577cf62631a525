package coordination

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/projections"
)

// Beacon tells the engines how far each view has come, whoever runs it, so that
// a read with a token may wait in any of them. A lost message only makes a wait
// longer: the next comes soon.
type ProgressBroadcast struct {
	nc   *nats.Conn
	root string // "engines.progress."
}

// NewBeacon speaks on nc.
func NewProgressBroadcast(nc *nats.Conn, s natsio.Subjects) *ProgressBroadcast {
	return &ProgressBroadcast{nc: nc, root: s.Root("engines.progress.")}
}

// beaconEvery bounds how often a moving view is told of, and beaconIdle how
// long a still one is not.
const (
	beaconEvery = 10 * time.Millisecond
	beaconIdle  = 500 * time.Millisecond
)

// Tell publishes a partition's progress until ctx ends.
func (b *ProgressBroadcast) Tell(ctx context.Context, view string, partition int, p *projections.Progress) {
	subject := b.root + view + "." + strconv.Itoa(partition)
	told := uint64(0)
	for ctx.Err() == nil {
		idle, cancel := context.WithTimeout(ctx, beaconIdle)
		p.Wait(idle, partition, told+1)
		cancel()
		told = p.At(partition)
		if err := b.nc.Publish(subject, strconv.AppendUint(nil, told, 10)); err != nil {
			return // the connection is closed
		}
		_ = wait.Sleep(ctx, beaconEvery)
	}
}

// Follow takes in what others tell of a view.
func (b *ProgressBroadcast) Follow(view string, p *projections.Progress) error {
	_, err := b.nc.Subscribe(b.root+view+".*", func(m *nats.Msg) {
		partition, err1 := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		at, err2 := strconv.ParseUint(string(m.Data), 10, 64)
		if err1 == nil && err2 == nil && partition >= 0 && partition < p.Partitions() {
			p.Set(partition, at)
		}
	})
	if err != nil {
		return fmt.Errorf("follow the progress of %s: %w", view, err)
	}
	return nil
}
