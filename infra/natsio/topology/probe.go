package topology

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// A server has no dry run: a probe is an empty stream that is created and
// deleted at once. Each has a unique name, because a store that is being
// deleted can block a new one of the same name (seen with 2.15).
const (
	probeName    = "TIDEMARK_PREFLIGHT_"
	probeSubject = "TIDEMARK_PREFLIGHT."
)

// resourceErrors mean that resources are missing. Any other refusal of a probe is an error.
var resourceErrors = []server.ErrorIdentifier{
	server.JSClusterNoPeersErrF, // too few servers match the placement
	server.JSInsufficientResourcesErr,
	server.JSMemoryResourcesExceededErr,
	server.JSStorageResourcesExceededErr,
	server.JSStreamReplicasNotSupportedErr,
}

// probe tests whether the server accepts such a stream. refusal is nil if it
// does.
func (a *api) probe(storage jetstream.StorageType, maxBytes int64, replicas int, placement *jetstream.Placement) (refusal *jetstream.APIError, err error) {
	if err := a.sweep(); err != nil {
		return nil, fmt.Errorf("probe the server's resources: %w", err)
	}
	id := ulid.Make().String()
	err = a.create(jetstream.StreamConfig{
		Name: probeName + id, Description: "probe of the topology planner; deleted at once", Subjects: []string{probeSubject + id},
		Storage: storage, MaxBytes: maxBytes, Replicas: replicas, Placement: placement,
	})
	if hasCode(err, resourceErrors...) {
		errors.As(err, &refusal)
		return refusal, nil
	}
	if deleteErr := a.deleteProbe(probeName + id); err == nil {
		err = deleteErr
	}
	if err != nil {
		return nil, fmt.Errorf("probe the server's resources: %w", err)
	}
	return nil, nil
}

// deleteProbe also works when the plan is cancelled.
func (a *api) deleteProbe(name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), 2*attemptTime)
	defer cancel()
	b := &api{ctx: ctx, js: a.js}
	err := b.do(func(ctx context.Context) error { return b.js.DeleteStream(ctx, name) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}

// probeAge is the age from which a probe belongs to a killed plan.
const probeAge = time.Minute

// sweep deletes the probes of killed plans, once per plan.
func (a *api) sweep() error {
	if a.swept {
		return nil
	}
	var old []string
	err := a.do(func(ctx context.Context) error {
		old = nil
		all := a.js.ListStreams(ctx, jetstream.WithStreamListSubject(probeSubject+">"))
		for info := range all.Info() {
			if strings.HasPrefix(info.Config.Name, probeName) && info.TimeStamp.Sub(info.Created) > probeAge {
				old = append(old, info.Config.Name)
			}
		}
		return all.Err()
	})
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := a.deleteProbe(name); err != nil {
			return err
		}
	}
	a.swept = true
	return nil
}
