package harness

import (
	"errors"
	"os"
	"syscall"
)

// Requests of ioctl(2) that stop and continue all writes to a file system.
const (
	fifreeze = 0xC0045877
	fithaw   = 0xC0045878
)

func freeze(dir string) (thaw func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	call := func(request uintptr) error {
		if _, _, no := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, 0); no != 0 {
			return no
		}
		return nil
	}
	if err := call(fifreeze); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error { return errors.Join(call(fithaw), f.Close()) }, nil
}

// nextData returns the next part of a file that is no hole; from == to at the end.
func nextData(f *os.File, at, size int64) (from, to int64, err error) {
	const seekData, seekHole = 3, 4
	from, err = f.Seek(at, seekData)
	if errors.Is(err, syscall.ENXIO) {
		return size, size, nil
	}
	if err == nil {
		to, err = f.Seek(from, seekHole)
	}
	return from, to, err
}
