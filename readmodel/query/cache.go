package query

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

// FromCache is the source of an answer from the cache.
const FromCache = "cache"

// QueryCache stores answers for queries that allow an age. It may drop answers or reject a Put;
// queries do not depend on it.
type QueryCache interface {
	// Get returns the answer of a key and when its computation began.
	Get(ctx context.Context, key string) (body []byte, at time.Time, found bool)
	Put(ctx context.Context, key string, body []byte, at time.Time)
}

// cached answers a list from the cache if the request allows an age, and stores a computed answer
// there. Without max_age_ms it does not use the cache.
func (q *Query) cached(ctx context.Context, name string, in *request, compute func() (*page, error)) ([]byte, error) {
	if q.Cache == nil || in.MaxAgeMS == nil || *in.MaxAgeMS == 0 {
		p, err := compute()
		if err != nil {
			return nil, err
		}
		return p.encode(), nil
	}
	key, err := in.cacheKey(q.Rows.Incarnation() + " " + name)
	if err != nil {
		return nil, err
	}
	// A token may require a newer position than that of a cached answer.
	if in.Token == "" {
		if body, at, ok := q.Cache.Get(ctx, key); ok {
			if age := max(0, time.Since(at)).Milliseconds(); age <= *in.MaxAgeMS {
				return withAge(body, age), nil
			}
		}
	}
	began := time.Now()
	p, err := compute()
	if err != nil {
		return nil, err
	}
	kept := *p
	kept.source, kept.rows = FromCache, append([]byte(nil), p.rows...)
	q.Cache.Put(ctx, key, kept.encode(), began)
	return p.encode(), nil
}

// withAge adds the member age_ms to an answer.
func withAge(body []byte, ms int64) []byte {
	b := append(make([]byte, 0, len(body)+32), body[:len(body)-1]...)
	b = append(b, `,"age_ms":`...)
	b = strconv.AppendInt(b, ms, 10)
	return append(b, '}')
}

// cacheKey is equal for requests with the same answer.
func (in *request) cacheKey(name string) (string, error) {
	same := *in
	same.MaxAgeMS, same.Token, same.WaitMS, same.Limit = nil, "", nil, &in.limit
	body, err := json.Marshal(&same, json.Deterministic(true))
	sum := sha256.Sum256(append([]byte(name+"\n"), body...))
	return hex.EncodeToString(sum[:]), err
}
