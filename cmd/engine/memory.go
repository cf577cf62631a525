package main

// heapFloor is what the collector takes for live from the start. An engine's
// few megabytes would otherwise be collected many times a second under load, a
// tenth of its CPU time. The memory is reserved and never touched, so it costs
// nothing itself; garbage may grow by as much before it is collected. GOGC and
// GOMEMLIMIT work as ever.
var heapFloor = make([]byte, 0, 64<<20)
