//go:build !linux

package pg

import "syscall"

// limitUnacknowledged does nothing: keepalives notice a peer that is gone.
func limitUnacknowledged(string, string, syscall.RawConn) error { return nil }
