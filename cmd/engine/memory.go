package main

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
)

// heapFloor is what the collector takes for live from the start. An engine's
// few megabytes would otherwise be collected many times a second under load, a
// tenth of its CPU time. The memory is reserved and never touched, so it costs
// nothing itself; garbage may grow by as much before it is collected. GOGC and
// GOMEMLIMIT work as ever.
var heapFloor = make([]byte, 0, embedded.HeapFloor)

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
	var c calm
	look := time.NewTicker(quietLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if runtime.ReadMemStats(&stats); c.look(stats.TotalAlloc) {
			embedded.FreeMemory(ctx)
		}
	}
}

// calm counts quiet looks after a burst.
type calm struct {
	last  uint64 // allocated until the look before, in bytes
	burst bool   // there has been one
	quiet int    // looks since then
}

// look takes how much has been allocated in all, and tells whether to give
// memory back.
func (c *calm) look(allocated uint64) bool {
	busy := allocated-c.last >= quietBytes
	c.last = allocated
	if busy {
		c.burst, c.quiet = true, 0
		return false
	}
	c.quiet++
	return c.burst && slices.Contains(quietLooks, c.quiet)
}
