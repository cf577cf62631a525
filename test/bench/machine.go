package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine describes the kind of machine without identifying it.
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

// beforehand is how long the CPU use of other processes is sampled before a cell.
const beforehand = 300 * time.Millisecond

// busy returns the share of the CPU in use while this program sleeps, 0 to 1; 0
// without /proc.
func busy(d time.Duration) float64 {
	idle, all := ticks()
	time.Sleep(d)
	idleNow, allNow := ticks()
	if allNow == all {
		return 0
	}
	return 1 - (idleNow-idle)/(allNow-all)
}

// ticks returns the machine's idle and total CPU time (proc(5)).
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

// cpu returns the CPU time that a process has used; 0 without /proc.
func cpu(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ") // the name may contain spaces
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
