package app

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/servers"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/infra/natsio/keystore"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
	natsquarantine "github.com/tidemark-engine/tidemark/infra/natsio/quarantine"
)

// openStores opens the database and the journal that it, the data directory and
// KV know, applies the topology, and opens the buckets.
func (e *Engine) openStores(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err = e.checkAccount(ctx); err != nil {
		return err
	}
	if err = e.postgres.Open(e.cfg.Postgres, e.cfg.PostgresSchema, &e.stops); err != nil {
		return err
	}
	note, sql, err := e.openKnownJournal(ctx)
	if err != nil {
		return err
	}
	if err := e.openKeys(ctx); err != nil {
		return err
	}
	nc, err := e.nats.Connect("views")
	if err != nil {
		return err
	}
	if e.topology, err = applyTopology(ctx, nc, e.cfg, e.nats.Embedded != nil, e.log); err != nil {
		return err
	}
	if e.buckets, err = openBuckets(ctx, nc, e.nats); err != nil {
		return err
	}
	bounds, err := e.cfg.Bounds()
	if err != nil {
		return err
	}
	e.journal.useArchive(e.postgres.DB, bounds.ClockSkew)
	e.guard, err = e.newGuard(ctx, note, sql)
	return err
}

// consumersPerStream is how many consumers the engine needs on one stream: COMMANDS
// has one for each lane; the journal has fewer.
const consumersPerStream = 40

// checkAccount fails when an external server does not permit the streams that the
// engine needs, before any of them is created.
func (e *Engine) checkAccount(ctx context.Context) error {
	if e.nats.Embedded != nil {
		return nil
	}
	t, err := settings.ReadTopology(e.cfg.Topology)
	if err != nil {
		return err
	}
	names := []string{
		intake.CommandsStream, intake.OutcomesStream, intake.DeadLettersStream, intake.UndeliveredStream, coordination.TimerStream, principals.StreamName,
		"KV_" + natsquarantine.BucketName, "KV_" + coordination.LeaseBucket, "KV_" + coordination.LockBucket,
	}
	if e.cfg.Encrypted() {
		names = append(names, keystore.StreamName)
	}
	for p := range max(e.cfg.Partitions, 1) {
		names = append(names, natsio.StreamName(p, max(e.cfg.Partitions, 1)))
	}
	for i := range t.Streams {
		names = append(names, t.Streams[i].Name)
	}
	for i := range t.Buckets {
		names = append(names, "KV_"+t.Buckets[i].Bucket)
	}
	for _, b := range deployment.DocBuckets {
		if name := "KV_" + b.Name; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	nc, err := e.nats.Connect("start")
	if err != nil {
		return err
	}
	if err := e.checkClients(ctx, nc); err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return natsio.CheckAccount(ctx, js, names, consumersPerStream)
}

// buckets are the KV buckets of the hot view and of cached answers.
type buckets struct {
	entries *hot.Bucket
	docs    map[string]*hot.Bucket // by kind
	cache   *hot.QueryCache
}

// rows are the buckets of the hot view.
func (b *buckets) rows() []*hot.Bucket {
	return slices.AppendSeq([]*hot.Bucket{b.entries}, maps.Values(b.docs))
}

func openBuckets(ctx context.Context, nc *nats.Conn, nats *servers.NATS) (*buckets, error) {
	open := func(cfg hot.BucketConfig) (*hot.Bucket, error) {
		cfg.Embedded = nats.Embedded != nil
		return hot.OpenBucket(ctx, nc, cfg, nats.Log)
	}
	b := &buckets{docs: map[string]*hot.Bucket{}}
	var err error
	if b.entries, err = open(hot.AgentStateBucket); err != nil {
		return nil, err
	}
	for kind, cfg := range deployment.DocBuckets {
		if b.docs[kind], err = open(cfg); err != nil {
			return nil, err
		}
	}
	b.cache, err = hot.OpenQueryCache(ctx, nc, nats.Log)
	return b, err
}

// quarantineStore is the store of quarantined aggregates, kept current by a
// watch.
type quarantineStore struct {
	*natsquarantine.Store
	stop func(context.Context)
}

func openQuarantine(ctx context.Context, nats *servers.NATS) (*quarantineStore, error) {
	nc, err := nats.Connect("quarantine")
	if err != nil {
		return nil, err
	}
	q, err := natsquarantine.Open(ctx, nc, nats.Log)
	if err != nil {
		return nil, err
	}
	return &quarantineStore{q, lifecycle.InBackground(q.Follow)}, nil
}

// of reports which aggregates a view holds in quarantine.
func (q *quarantineStore) of(view string) func(int, events.AggregateName) bool {
	return func(p int, s events.AggregateName) bool { return q.Quarantined(view, p, s) }
}
