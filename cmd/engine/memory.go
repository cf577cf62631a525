package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// heapFloor is what the collector takes for live from the start. An engine's
// few megabytes would otherwise be collected many times a second under load, a
// tenth of its CPU time. The memory is reserved and never touched, so it costs
// nothing itself; garbage may grow by as much before it is collected. GOGC and
// GOMEMLIMIT work as ever.
var heapFloor = make([]byte, 0, 64<<20)

const (
	quietLook   = 5 * time.Second
	quietBytes  = 256 << 20 // allocated between two looks: less is quiet
	returnBytes = 512 << 20 // allocated since memory was last given back: less is not worth a collection
)

// giveBack returns memory to the system in the first quiet moments after a
// burst. By itself the collector keeps twice what was live at the burst's
// height until it runs next, which without work may be minutes away.
func giveBack(ctx context.Context) {
	var stats runtime.MemStats
	allocated := func() uint64 {
		runtime.ReadMemStats(&stats)
		return stats.TotalAlloc
	}
	last, given := allocated(), uint64(0)
	look := time.NewTicker(quietLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		now := allocated()
		if now-last < quietBytes && now-given > returnBytes {
			debug.FreeOSMemory()
			given = now
		}
		last = now
	}
}
