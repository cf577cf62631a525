package embedded

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// HeapFloor is the size in bytes of the GC ballast of a process with a server
// in it: reserved, never touched. Without it the collector runs many times a
// second under load, because a young server has only a few megabytes alive.
const HeapFloor = 64 << 20

// FreeMemory collects garbage and returns free memory to the system. It takes
// some tenths of a second. One collection is not enough: the server (2.15)
// holds file buffers in weak pointers and puts them into a sync.Pool when they
// are collected, and a pool is empty only two collections later.
func FreeMemory(ctx context.Context) {
	for range 3 {
		runtime.GC()
		select {
		case <-time.After(100 * time.Millisecond): // finalizers move buffers to the pools
		case <-ctx.Done():
			return
		}
	}
	debug.FreeOSMemory()
}
