package embedded_test

import (
	"runtime"
	"sync"
	"testing"
	"weak"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
)

// Buffers that a finalizer puts into a pool are freed too.
func TestFreeMemoryEmptiesPools(t *testing.T) {
	type cache struct{ buffer *[1 << 20]byte }
	var pool sync.Pool
	held := &cache{new([1 << 20]byte)}
	buffer := weak.Make(held.buffer)
	runtime.SetFinalizer(held, func(c *cache) { pool.Put(c.buffer) })
	embedded.FreeMemory(t.Context())
	if buffer.Value() != nil {
		t.Error("the buffer is still there")
	}
	runtime.KeepAlive(&pool)
}
