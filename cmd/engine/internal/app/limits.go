package app

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/natsio/service"
)

// limits share out the memory and the file descriptors of the process.
type limits struct {
	memory uint64
	rates  *natsio.Rates // of each client's requests
}

func newLimits(memory, bound uint64, perSecond int) limits {
	debug.SetMemoryLimit(int64(bound)) // the collector works harder only near it
	return limits{memory, natsio.NewRates(perSecond)}
}

// requests are what commands and queries hold until they are answered. A command is in
// memory several times: as its message, its event, and in the views that follow.
func (l limits) requests(inFlight int) service.Limits {
	return service.Limits{
		Commands: int64(inFlight), CommandBytes: int64(l.memory / 64), QueryBytes: int64(l.memory / 64),
	}
}

// waitBytes bounds the bodies of all commands, those of the queue and the outbox too.
func (l limits) waitBytes() int { return int(min(l.memory/8, 256<<20)) }

// headBytes bounds the cached heads of aggregates.
func (l limits) headBytes() uint64 { return min(l.memory/8, 256<<20) }

// rowBytes bounds the rows in the memory tier.
func (l limits) rowBytes() uint64 { return min(l.memory/16, 128<<20) }

// taskBytes bounds the index of the tasks that wait.
func (l limits) taskBytes() int { return int(min(l.memory/16, 128<<20)) }

// server bounds the embedded server. The descriptors that it leaves are for files,
// Postgres and HTTP.
func (l limits) server() embedded.Limits {
	s := embedded.Limits{PendingBytes: int64(max(l.memory/8, 64<<20))}
	if files := openFiles(); files > 0 {
		s.Connections = int(min(files-min(max(files/4, 384), files/2), 64<<10))
	}
	return s
}

// machineMemory is the memory that this process may use, in bytes; where it is unknown,
// 4 GiB.
func machineMemory() uint64 {
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
