package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// measuredPurges is how many purges the measurement of their cost makes.
const measuredPurges = 24

// purgeCostTimeout bounds the measurement.
const purgeCostTimeout = 15 * time.Second

// PurgeCost measures on the server's disk, as busy as it is now, how long one purge of one
// aggregate takes. It purges a stream of its own, which it removes.
func (j *Journal) PurgeCost(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, purgeCostTimeout)
	defer cancel()
	const name = "TIDEMARK_TRIM"
	if err := j.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) { // of a killed process
		return 0, fmt.Errorf("measure the server's disk: %w", err)
	}
	root := natsio.IntakeRoot + nuid.Next() + "."
	s, err := j.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: name, Description: "Measures the disk for a trim", Subjects: []string{root + ">"}, Storage: jetstream.FileStorage, Replicas: j.Replicas(),
		MaxBytes: 1 << 20, MaxAge: time.Hour,
	})
	if err != nil {
		return 0, fmt.Errorf("measure the server's disk: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), purgeTimeout)
		defer cancel()
		_ = j.js.DeleteStream(ctx, name) // it is empty, and small in any case
	}()
	// Each subject keeps an event, as each aggregate does.
	for range 2 {
		for i := range measuredPurges {
			if _, err := j.js.Publish(ctx, root+strconv.Itoa(i), []byte("x")); err != nil {
				return 0, fmt.Errorf("measure the server's disk: %w", err)
			}
		}
	}
	start := time.Now()
	for i := range measuredPurges {
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(root+strconv.Itoa(i)), jetstream.WithPurgeSequence(measuredPurges+1)); err != nil {
			return 0, fmt.Errorf("measure the server's disk: %w", err)
		}
	}
	return time.Since(start) / measuredPurges, nil
}
