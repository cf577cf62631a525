package hot

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/readmodel/query"
)

// queryCacheBucket is query_cache_kv of the topology document.
var queryCacheBucket = BucketConfig{
	Name: "QUERY_CACHE", Description: "Query result caching for performance",
	TTL: 5 * time.Minute, History: 1, MaxValueSize: 1 << 20, MaxBytes: 256 << 20, Replicas: 1, Memory: true,
}

// QueryCache caches answers of queries in a bucket that all engines share.
type QueryCache struct {
	bucket *Bucket
	log    *slog.Logger

	mu    sync.Mutex
	tried time.Time // when the bucket was last opened in vain
}

var _ query.QueryCache = (*QueryCache)(nil)

// OpenQueryCache opens the bucket and creates it if it is missing. The bucket has
// one replica: while its server is down, nothing is cached.
func OpenQueryCache(ctx context.Context, nc *nats.Conn, log *slog.Logger) (*QueryCache, error) {
	b, err := OpenBucket(ctx, nc, queryCacheBucket, log)
	if b == nil || err != nil && !natsio.HasCode(err, natsio.CodeOffline) {
		return nil, err
	}
	if err != nil {
		log.Warn("queries are not cached", "error", err)
	}
	return &QueryCache{bucket: b, log: log}, nil
}

// reopenInterval is the time between two attempts to open a missing bucket.
const reopenInterval = 5 * time.Second

// stream returns the bucket's stream; nil = it is not available.
func (c *QueryCache) stream(ctx context.Context) jetstream.Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bucket.stream == nil && time.Since(c.tried) > reopenInterval {
		c.tried = time.Now()
		if s, err := c.bucket.js.Stream(ctx, "KV_"+c.bucket.name); err == nil {
			c.bucket.stream = s
		}
	}
	return c.bucket.stream
}

// computedHeader carries the time at which the computation of an answer began,
// by the clock of the computing engine. The bucket's timestamp is the time of
// the put, which is later.
const computedHeader = "Tidemark-Computed"

// cacheTimeout bounds the time that one cache access may add to a query.
const cacheTimeout = 500 * time.Millisecond

// Get implements query.QueryCache.
func (c *QueryCache) Get(ctx context.Context, key string) ([]byte, time.Time, bool) {
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	s := c.stream(ctx)
	if s == nil {
		return nil, time.Time{}, false
	}
	msg, err := s.GetLastMsgForSubject(ctx, c.bucket.prefix+key)
	if err != nil || isMarker(msg.Header) {
		return nil, time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get(computedHeader))
	if err != nil || len(msg.Data) < 2 || msg.Data[len(msg.Data)-1] != '}' {
		return nil, time.Time{}, false // not an answer that Put wrote
	}
	return msg.Data, at, true
}

// Put implements query.QueryCache. It skips answers that are too large.
func (c *QueryCache) Put(ctx context.Context, key string, body []byte, at time.Time) {
	header := nats.Header{computedHeader: []string{at.UTC().Format(time.RFC3339Nano)}}
	limit := min(int64(queryCacheBucket.MaxValueSize), c.bucket.nc.MaxPayload())
	if int64(len(body)) > limit-headerReserve {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	if c.stream(ctx) == nil {
		return
	}
	_, err := c.bucket.js.PublishMsg(ctx, &nats.Msg{Subject: c.bucket.prefix + key, Data: body, Header: header})
	if err != nil && !natsio.HasCode(err, natsio.CodeStreamFull) {
		c.log.Debug("an answer is not cached", "error", err)
	}
}

// headerReserve is the size in bytes that the value limits leave for headers.
const headerReserve = 128
