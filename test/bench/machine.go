package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine says on what kind of machine this runs, not which.
func machine() string {
	text := fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int
		if _, err := fmt.Sscanf(string(info), "MemTotal: %d kB", &kib); err == nil {
			text += fmt.Sprintf(", %d GiB of memory", (kib+1<<19)>>20)
		}
	}
	return text
}

// beforehand is how long the machine is watched while nothing is measured.
const beforehand = 300 * time.Millisecond

// busy is the share of the CPU that is taken while this program waits, 0 to 1;
// 0 where /proc does not tell.
func busy(d time.Duration) float64 {
	idle, all := ticks()
	time.Sleep(d)
	idleNow, allNow := ticks()
	if allNow == all {
		return 0
	}
	return 1 - (idleNow-idle)/(allNow-all)
}

// ticks are the machine's idle and whole CPU time (proc(5)).
func ticks() (idle, all float64) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line) {
		v, err := strconv.ParseFloat(field, 64)
		if err != nil {
			continue // "cpu"
		}
		if all += v; i == 4 || i == 5 { // idle, iowait
			idle += v
		}
	}
	return idle, all
}

// cpu is the CPU time that a process has taken so far; 0 where /proc does not
// tell.
func cpu(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100) // USER_HZ is 100 on Linux
}

func mean(values []float64) (m float64) {
	for _, v := range values {
		m += v / float64(len(values))
	}
	return m
}
