//go:build !linux && !darwin && !freebsd

package embedded

func disk(string) (free, size int64, ok bool) { return 0, 0, false }

// files is not known here.
func files(string) (free, all int64, ok bool) { return 0, 0, false }
