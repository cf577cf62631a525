//go:build !linux

package harness

func useMemory() {}
