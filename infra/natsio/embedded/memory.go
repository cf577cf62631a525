package embedded

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// HeapFloor is how many bytes a process with a server in it reserves, and never
// touches, for the collector to take for live: a young server's few megabytes
// would otherwise be collected many times a second under load.
const HeapFloor = 64 << 20

// GiveBack frees what this process does not use, however deep, and returns it to
// the system. One collection is not enough: the server (2.15) holds what it has
// read of its files weakly and puts the buffers that a collection lets go into
// pools, and a pool is emptied by the second collection after that. It takes
// some tenths of a second and the time of three collections.
func GiveBack(ctx context.Context) {
	for range 3 {
		runtime.GC()
		select {
		case <-time.After(100 * time.Millisecond): // the buffers are on their way to the pools
		case <-ctx.Done():
			return
		}
	}
	debug.FreeOSMemory()
}
