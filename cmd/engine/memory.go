package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// heapFloor is what the collector takes for live from the start. An engine's
// few megabytes would otherwise be collected many times a second under load, a
// tenth of its CPU time. The memory is reserved and never touched, so it costs
// nothing itself; garbage may grow by as much before it is collected. GOGC and
// GOMEMLIMIT work as ever.
var heapFloor = make([]byte, 0, 64<<20)

const (
	quietLook  = 5 * time.Second
	quietBytes = 512 << 20 // allocated between two looks: less is quiet
)

// quietLooks are after how many quiet looks in a row memory is given back: soon,
// but not between two beats of a load that comes and goes; when the server has
// let its write caches go; and when its duplicate windows of two minutes have
// passed.
var quietLooks = []int{2, 6, 30}

// giveBack returns memory to the system in the quiet moments after a burst. By
// itself the collector keeps twice what was live at the burst's height until it
// runs next, which without work may be minutes away.
func giveBack(ctx context.Context) {
	var stats runtime.MemStats
	look := time.NewTicker(quietLook)
	defer look.Stop()
	for last, quiet := uint64(0), quietLooks[len(quietLooks)-1]; ; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		runtime.ReadMemStats(&stats)
		quiet++
		if stats.TotalAlloc-last >= quietBytes {
			quiet = 0
		}
		if last = stats.TotalAlloc; slices.Contains(quietLooks, quiet) {
			collect(ctx)
			runtime.ReadMemStats(&stats)
			last = stats.TotalAlloc
		}
	}
}

// collect frees what nobody uses, however deep. One collection is not enough:
// the server (2.15) holds what it has read of its files weakly and puts the
// buffers that a collection lets go into pools, and a pool is emptied by the
// second collection after that.
func collect(ctx context.Context) {
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
