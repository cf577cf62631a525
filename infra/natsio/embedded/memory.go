package embedded

// HeapFloor is how many bytes a process with a server in it reserves, and never
// touches, for the collector to take for live: a young server's few megabytes
// would otherwise be collected many times a second under load.
const HeapFloor = 64 << 20
