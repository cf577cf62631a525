//go:build !linux && !darwin && !freebsd

package embedded

func disk(string) (free, size int64, ok bool) { return 0, 0, false }

// inodes is not known here.
func inodes(string) (free, all int64, ok bool) { return 0, 0, false }
