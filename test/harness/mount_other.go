//go:build !linux

package harness

import "errors"

func mountTmpfs(_, _ string) error { return errors.ErrUnsupported }

func unmount(string) error { return nil }
