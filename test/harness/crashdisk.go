package harness

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// CrashDisk is a file system of its own that survives a power cut as a real one does:
// with what had been written to its device, and without what was still in memory.
//
// It is ext4 on a loop device. The device's file lies on a second ext4, which Cut
// freezes: from then on no write to the device completes, and a copy of the file is
// the device at one moment, also in the middle of a sync.
type CrashDisk struct {
	Dir string // where it is mounted

	t       testing.TB
	bytes   int64
	outer   [2]string // the file is in one of them, and copied to the other
	current int
	loop    bool
}

// NewCrashDisk mounts a disk with that many bytes. Where this process may not mount a
// loop device it is an ordinary directory, and a cut is no more than kill -9.
func NewCrashDisk(t testing.TB, bytes int64) *CrashDisk {
	t.Helper()
	d := &CrashDisk{t: t, Dir: TempDir(t), bytes: bytes}
	for i := range d.outer {
		d.outer[i] = TempDir(t)
		if !d.mount(filepath.Join(TempDir(t), "outer.img"), d.outer[i], 2*bytes) {
			return d
		}
	}
	d.loop = d.mount(d.image(0), d.Dir, bytes)
	return d
}

func (d *CrashDisk) image(i int) string { return filepath.Join(d.outer[i], "disk.img") }

// mount makes a file system in a file and mounts it until the end of the test; false
// = this process may not.
func (d *CrashDisk) mount(image, at string, bytes int64) bool {
	d.t.Helper()
	Must(d.t, os.WriteFile(image, nil, 0o600))
	Must(d.t, os.Truncate(image, bytes))
	if exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", image).Run() != nil || d.attach(image, at) != nil {
		return false
	}
	d.t.Cleanup(func() {
		if err := unmount(at); err != nil {
			d.t.Errorf("unmount %s: %v", at, err)
		}
	})
	return true
}

func (d *CrashDisk) attach(image, at string) error {
	if out, err := exec.Command("mount", "-o", "loop,discard", image, at).CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

// Cut cuts the power: every process that works on the disk is killed at the moment
// of the cut, and then the disk is there as it was at that moment. Whatever such a
// process has sent before its end is older than the cut, whose time Cut
// returns.
func (d *CrashDisk) Cut(ended func()) (at time.Time) {
	d.t.Helper()
	running := Processes(d.Dir) // asked for before, because a process that waits for the disk may not answer
	if !d.loop {
		kill(running)
		at = time.Now()
		ended()
		return at
	}
	from, to := d.image(d.current), d.image(1-d.current)
	Must(d.t, os.RemoveAll(to))
	thaw, err := freeze(d.outer[d.current])
	Mustf(d.t, err, "freeze %s", d.outer[d.current])
	at = time.Now()
	err = copySparse(from, to)
	kill(running) // before the thaw: no process sees that its writes go on
	Must(d.t, errors.Join(err, thaw()))
	ended()
	Eventually(d.t, "the old disk is unmounted", func() error {
		kill(Processes(d.Dir)) // those that were forked meanwhile
		return unmount(d.Dir)
	})
	Must(d.t, d.attach(to, d.Dir))
	d.current = 1 - d.current
	return at
}

func kill(all []Process) {
	for _, p := range all {
		if q, err := os.FindProcess(p.PID); err == nil {
			_ = q.Kill() // it may have ended just now
		}
	}
}

// copySparse copies a file and leaves out blocks of zeros.
func copySparse(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	size, err := in.Seek(0, io.SeekEnd)
	if err == nil {
		err = out.Truncate(size)
	}
	for at := int64(0); err == nil && at < size; {
		var end int64
		if at, end, err = nextData(in, at, size); err == nil && at < end {
			_, err = io.Copy(io.NewOffsetWriter(out, at), io.NewSectionReader(in, at, end-at))
			at = end
		}
	}
	return errors.Join(err, out.Close())
}

func (d *CrashDisk) String() string {
	kind := "kill -9 only, for this process may not mount a loop device"
	if d.loop {
		kind = "ext4 on a loop device"
	}
	return kind + " of " + strconv.FormatInt(d.bytes>>20, 10) + " MiB"
}
