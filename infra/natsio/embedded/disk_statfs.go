//go:build linux || darwin || freebsd

package embedded

import "golang.org/x/sys/unix"

// disk returns the bytes that a file system has free for this user, and its size.
func disk(dir string) (free, size int64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize), true
}

// freeFiles returns how many files can still be made in a file system, and how many it can
// hold; ok is false for one without such a limit.
func freeFiles(dir string) (free, all int64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil || s.Files == 0 {
		return 0, 0, false
	}
	return int64(s.Ffree), int64(s.Files), true
}
