package embedded_test

import (
	"runtime"
	"sync"
	"testing"
	"weak"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
)

// What a pool holds that was filled only by a collection is free as well.
func TestGiveBackEmptiesThePoolsThatCollectionsFill(t *testing.T) {
	type cache struct{ buffer *[1 << 20]byte }
	var pool sync.Pool
	held := &cache{new([1 << 20]byte)}
	buffer := weak.Make(held.buffer)
	runtime.SetFinalizer(held, func(c *cache) { pool.Put(c.buffer) })
	embedded.GiveBack(t.Context())
	if buffer.Value() != nil {
		t.Error("the buffer is still there")
	}
	runtime.KeepAlive(&pool)
}
