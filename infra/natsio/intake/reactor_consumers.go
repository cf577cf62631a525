package intake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ReactorConsumers returns when the consumers of the reactors were created, by
// "<reactor>@<stream>". One that was made again delivers no event from before. It
// fails while one is missing.
func (in *Intake) ReactorConsumers(ctx context.Context) (map[string]time.Time, error) {
	found := map[string]map[string]*jetstream.ConsumerInfo{} // by stream and name
	created := map[string]time.Time{}
	for topic, src := range in.reactorSources() {
		if found[src.stream] == nil {
			all, err := consumersOf(ctx, in.js, src.stream)
			if err != nil {
				return nil, err
			}
			found[src.stream] = all
		}
		info := found[src.stream][src.config.Durable]
		if info == nil {
			return nil, fmt.Errorf("the consumer %s of stream %s is missing; it is made again", src.config.Durable, src.stream)
		}
		created[topic] = info.Created
	}
	return created, nil
}

// checkPaused fails when another program has paused consumers of the engine: what they
// deliver waits. An operator may want that, so they stay paused.
func (in *Intake) checkPaused(ctx context.Context) error {
	own := map[string][]string{} // by stream
	for _, sources := range []map[string]source{in.commandSources(), in.reactorSources()} {
		for _, src := range sources {
			own[src.stream] = append(own[src.stream], src.config.Durable)
		}
	}
	var failed error
	for _, stream := range slices.Sorted(maps.Keys(own)) {
		all, err := consumersOf(ctx, in.js, stream)
		failed = errors.Join(failed, err)
		slices.Sort(own[stream])
		for _, name := range own[stream] {
			if info := all[name]; info != nil && info.Paused {
				failed = errors.Join(failed, fmt.Errorf("the consumer %s of stream %s is paused for another %s: resume it with nats consumer resume",
					name, stream, info.PauseRemaining.Round(time.Second)))
			}
		}
	}
	return failed
}

// consumersOf are the consumers of a stream, by name.
func consumersOf(ctx context.Context, js jetstream.JetStream, stream string) (map[string]*jetstream.ConsumerInfo, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	all := map[string]*jetstream.ConsumerInfo{}
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		all[info.Name] = info
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the consumers of stream %s: %w", stream, err)
	}
	return all, nil
}
