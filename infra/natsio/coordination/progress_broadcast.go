package coordination

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/projections"
)

// ProgressBroadcast sends the position of each view to all engines, so that a read
// with a token can wait in any engine. A lost message only delays the wait until
// the next one.
type ProgressBroadcast struct {
	nc   *nats.Conn
	root string // "engines.progress."
	self string // distinguishes this engine's messages
	own  ownRows
}

// engineHeader names the engine that sent a position.
const engineHeader = "Tidemark-Engine"

// NewProgressBroadcast returns a broadcast on nc.
func NewProgressBroadcast(nc *nats.Conn, s natsio.Subjects) *ProgressBroadcast {
	return &ProgressBroadcast{
		nc: nc, root: s.Root("engines.progress."), self: nuid.Next(),
		own: ownRows{parts: map[viewPart]*rowsOf{}, held: make(chan struct{}, 1)},
	}
}

// publishInterval is the least time between two messages of a changing position,
// idleInterval the time between two messages of an unchanged one.
const (
	publishInterval = 10 * time.Millisecond
	idleInterval    = 500 * time.Millisecond
)

// Publish publishes the position of a view in one partition until ctx ends or the
// connection is closed.
func (b *ProgressBroadcast) Publish(ctx context.Context, view string, partition int, p *projections.Progress) {
	subject := b.root + view + "." + strconv.Itoa(partition)
	position := uint64(0)
	for ctx.Err() == nil {
		idle, cancel := context.WithTimeout(ctx, idleInterval)
		p.Wait(idle, partition, position+1)
		cancel()
		position = p.At(partition)
		err := b.nc.PublishMsg(&nats.Msg{
			Subject: subject, Data: strconv.AppendUint(nil, position, 10), Header: nats.Header{engineHeader: []string{b.self}},
		})
		if err != nil {
			return // the connection is closed
		}
		_ = wait.Sleep(ctx, publishInterval)
	}
}

// Follow sets p, until stop is called, to the positions of a view that other engines
// publish, also to a lower one: a view that has lost rows, or whose journal has lost
// events, goes back.
func (b *ProgressBroadcast) Follow(view string, p *projections.Progress) (stop func(), err error) {
	return b.subscribe(view, p, func(_ int, _ string, at uint64) (uint64, bool) { return at, true })
}

// FollowRows is Follow for a view whose rows this engine reads in a
// store of its own configuration: a position counts as far as CompareRows found it there.
func (b *ProgressBroadcast) FollowRows(view string, p *projections.Progress) (stop func(), err error) {
	return b.subscribe(view, p, func(partition int, from string, at uint64) (uint64, bool) {
		return b.own.limit(viewPart{view, partition}, from, at)
	})
}

// subscribe calls take with each position and sets p to what it returns, unless that is false.
func (b *ProgressBroadcast) subscribe(view string, p *projections.Progress, take func(partition int, from string, at uint64) (uint64, bool)) (stop func(), err error) {
	s, err := b.nc.Subscribe(b.root+view+".*", func(m *nats.Msg) {
		partition, err1 := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		at, err2 := strconv.ParseUint(string(m.Data), 10, 64)
		if err1 != nil || err2 != nil || partition < 0 || partition >= p.Partitions() {
			return
		}
		from := m.Header.Get(engineHeader)
		if from == b.self {
			return
		}
		if at, ok := take(partition, from, at); ok && at != p.At(partition) {
			p.Reset(partition, at)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("follow the progress of %s: %w", view, err)
	}
	return func() { _ = s.Unsubscribe() }, nil
}
