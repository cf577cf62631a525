package hot

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/readmodel/query"
)

// QueryCacheBucket is the seed's query_cache_kv.
var QueryCacheBucket = BucketConfig{
	Name: "QUERY_CACHE", Description: "Query result caching for performance",
	TTL: 5 * time.Minute, History: 1, MaxValueSize: 1 << 20, MaxBytes: 256 << 20, Replicas: 1, Memory: true,
}

// QueryCache keeps answers of queries in a bucket that all engines share.
type QueryCache struct {
	bucket *Bucket
	log    *slog.Logger
}

var _ query.QueryCache = (*QueryCache)(nil)

// OpenQueryCache opens the bucket, making it where there is none.
func OpenQueryCache(ctx context.Context, nc *nats.Conn, log *slog.Logger) (*QueryCache, error) {
	b, err := OpenBucket(ctx, nc, QueryCacheBucket, log)
	if err != nil {
		return nil, err
	}
	return &QueryCache{bucket: b, log: log}, nil
}

// computedHeader says when an answer began to be computed, by the clock of the
// engine that did: the bucket's own time is that of the put, which is later.
const computedHeader = "Tidemark-Computed"

// cacheTime bounds what a look into the cache may add to an answer.
const cacheTime = 500 * time.Millisecond

// Get implements readmodel.QueryCache.
func (c *QueryCache) Get(ctx context.Context, key string) ([]byte, time.Time, bool) {
	ctx, cancel := context.WithTimeout(ctx, cacheTime)
	defer cancel()
	msg, err := c.bucket.stream.GetLastMsgForSubject(ctx, c.bucket.root+key)
	if err != nil || gone(msg.Header) {
		return nil, time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get(computedHeader))
	if err != nil || len(msg.Data) < 2 || msg.Data[len(msg.Data)-1] != '}' {
		return nil, time.Time{}, false // not ours
	}
	return msg.Data, at, true
}

// Put implements readmodel.QueryCache. What is too large is not kept.
func (c *QueryCache) Put(ctx context.Context, key string, body []byte, at time.Time) {
	header := nats.Header{computedHeader: []string{at.UTC().Format(time.RFC3339Nano)}}
	limit := min(int64(QueryCacheBucket.MaxValueSize), c.bucket.nc.MaxPayload())
	if int64(len(body)) > limit-headerRoom {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cacheTime)
	defer cancel()
	_, err := c.bucket.js.PublishMsg(ctx, &nats.Msg{Subject: c.bucket.root + key, Data: body, Header: header})
	if err != nil && !natsio.HasCode(err, natsio.CodeStreamFull) {
		c.log.Debug("an answer is not kept in the query cache", "error", err)
	}
}

// headerRoom is what the limits on a value's size must leave for its headers.
const headerRoom = 128
