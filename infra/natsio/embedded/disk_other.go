//go:build !linux && !darwin && !freebsd

package embedded

func disk(string) (free, size int64, ok bool) { return 0, 0, false }

// freeFiles is not known here.
func freeFiles(string) (free, all int64, ok bool) { return 0, 0, false }
