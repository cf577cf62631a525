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
	quietLook  = 5 * time.Second
	quietBytes = 256 << 20 // allocated between two looks: less is quiet
)

// giveBack returns memory to the system in the first quiet moments after a
// burst. By itself the collector keeps twice what was live at the burst's
// height until it runs next, which without work may be minutes away.
func giveBack(ctx context.Context) {
	var stats runtime.MemStats
	look := time.NewTicker(quietLook)
	defer look.Stop()
	for last, burst := uint64(0), false; ; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		runtime.ReadMemStats(&stats)
		busy := stats.TotalAlloc-last >= quietBytes
		if last = stats.TotalAlloc; burst && !busy {
			debug.FreeOSMemory()
		}
		burst = busy
	}
}
