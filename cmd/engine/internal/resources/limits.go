// Package resources is what the process takes of its machine: how memory and file
// descriptors are shared out, and what is done for the garbage collector. It holds no
// state of the engine.
package resources

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/service"
)

// Limits share out the memory and the file descriptors of the process.
type Limits struct {
	memory uint64
	Rates  *natsio.Rates // of each client's requests
}

// NewLimits shares out memory, and sets the bound near which the collector works harder;
// perSecond are the requests of one client.
func NewLimits(memory, bound uint64, perSecond int) Limits {
	debug.SetMemoryLimit(int64(bound)) // the collector works harder only near it
	return Limits{memory, natsio.NewRates(perSecond)}
}

// Requests are what commands and queries hold until they are answered. A command is in
// memory several times: as its message, its event, and in the views that follow.
func (l Limits) Requests(inFlight int) service.Limits {
	return service.Limits{
		Commands: int64(inFlight), CommandBytes: int64(l.memory / 64), QueryBytes: int64(l.memory / 64),
	}
}

// WaitBytes bounds the bodies of all commands, those of the queue and the outbox too.
func (l Limits) WaitBytes() int { return int(min(l.memory/8, 256<<20)) }

// HeadBytes bounds the cached heads of aggregates.
func (l Limits) HeadBytes() uint64 { return min(l.memory/8, 256<<20) }

// RowBytes bounds the rows in the memory tier.
func (l Limits) RowBytes() uint64 { return min(l.memory/16, 128<<20) }

// TaskBytes bounds the index of the tasks that wait.
func (l Limits) TaskBytes() int { return int(min(l.memory/16, 128<<20)) }

// Server bounds the embedded server. The descriptors that it leaves are for files,
// Postgres and HTTP.
func (l Limits) Server() embedded.Limits {
	s := embedded.Limits{PendingBytes: int64(max(l.memory/8, 64<<20))}
	if files := openFiles(); files > 0 {
		s.Connections = int(min(files-min(max(files/4, 384), files/2), 64<<10))
	}
	return s
}

// MachineMemory is the memory that this process may use, in bytes; where it is unknown,
// 4 GiB.
func MachineMemory() uint64 {
	n := uint64(4 << 30)
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		if f := strings.Fields(string(text)); len(f) > 1 && f[0] == "MemTotal:" {
			if kb, err := strconv.ParseUint(f[1], 10, 64); err == nil {
				n = kb << 10
			}
		}
	}
	for _, file := range [...]string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if text, err := os.ReadFile(file); err == nil {
			if limit, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil {
				n = min(n, limit)
			}
		}
	}
	return n
}
