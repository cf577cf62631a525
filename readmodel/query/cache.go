package query

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

// FromCache is the source of an answer that was computed for somebody else.
const FromCache = "cache"

// QueryCache keeps answers for those who say how old one may be. It may forget
// any of them, and refuse to take one: an answer stands without.
type QueryCache interface {
	// Get is the answer under a key and when it began to be computed.
	Get(ctx context.Context, key string) (body []byte, at time.Time, found bool)
	Put(ctx context.Context, key string, body []byte, at time.Time)
}

// cached answers a list from the cache where the question allows that, and
// leaves what it computes there. Without max_age_ms the cache has no part.
func (q *Query) cached(ctx context.Context, name string, in *question, compute func() (*page, error)) ([]byte, error) {
	if q.Cache == nil || in.MaxAgeMS == nil || *in.MaxAgeMS == 0 {
		p, err := compute()
		if err != nil {
			return nil, err
		}
		return p.encode(), nil
	}
	key, err := in.cacheKey(q.Past.Incarnation() + " " + name)
	if err != nil {
		return nil, err
	}
	// A token may ask for more than an answer of before had read.
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

// withAge adds its age to an answer.
func withAge(body []byte, ms int64) []byte {
	b := append(make([]byte, 0, len(body)+32), body[:len(body)-1]...)
	b = append(b, `,"age_ms":`...)
	b = strconv.AppendInt(b, ms, 10)
	return append(b, '}')
}

// cacheKey is the same for two questions that the same answer fits.
func (in *question) cacheKey(name string) (string, error) {
	same := *in
	same.MaxAgeMS, same.Token, same.WaitMS, same.Limit = nil, "", nil, &in.limit
	body, err := json.Marshal(&same, json.Deterministic(true))
	sum := sha256.Sum256(append([]byte(name+"\n"), body...))
	return hex.EncodeToString(sum[:]), err
}
