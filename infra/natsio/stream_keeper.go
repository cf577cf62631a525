package natsio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamKeeper keeps a stream of the engine in being: it creates a stream that was
// removed, restores settings that another program has changed, and gives one with too
// few replicas more when the cluster can keep them. It is not safe for concurrent use.
type StreamKeeper struct {
	JS     jetstream.JetStream
	Config jetstream.StreamConfig // for OpenStream
	Log    *slog.Logger

	created time.Time // of the stream at the last check
	tried   time.Time // when the replicas were last raised
}

// raiseInterval is the time between two attempts to raise the replicas.
const raiseInterval = 30 * time.Second

// Check creates the stream if it is missing and restores its settings. remade reports whether the stream is
// another one than at the last check: the messages of the earlier one are lost. few
// says why the stream has fewer replicas than wanted; "" = it has them.
func (k *StreamKeeper) Check(ctx context.Context) (remade bool, few string, err error) {
	s, err := k.JS.Stream(ctx, k.Config.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		s, err = OpenStream(ctx, k.JS, k.Config)
	case err == nil && Few(s.CachedInfo()) != "" && time.Since(k.tried) > raiseInterval:
		k.tried = time.Now()
		s = raise(ctx, k.JS, s, wantedReplicas)
	}
	if err != nil {
		return false, "", fmt.Errorf("stream %s: %w", k.Config.Name, err)
	}
	if cfg, changed := Restored(s.CachedInfo().Config, k.Config); len(changed) > 0 {
		if s, err = k.JS.UpdateStream(ctx, cfg); err != nil {
			return false, "", fmt.Errorf("restore the settings %s of stream %s: %w", strings.Join(changed, ", "), k.Config.Name, err)
		}
		k.Log.Warn("another program has changed a stream of the engine; its settings are restored", "stream", k.Config.Name, "settings", strings.Join(changed, ", "))
	}
	info := s.CachedInfo()
	remade = !k.created.IsZero() && !info.Created.Equal(k.created)
	k.created = info.Created
	return remade, Few(info), dropped(info, &k.Config) // another program may have made it
}

// Few says that a stream of a cluster has fewer than wantedReplicas; "" = it has
// them, or there is no cluster.
func Few(info *jetstream.StreamInfo) string {
	if info.Cluster == nil || info.Cluster.Name == "" || info.Config.Replicas >= wantedReplicas {
		return ""
	}
	return fmt.Sprintf("stream %s has %d of %d replicas", info.Config.Name, info.Config.Replicas, wantedReplicas)
}
