package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var cluster once

// PostgresDir makes dir a directory of a managed Postgres with a cluster as a first
// start leaves it, a copy of one that all tests share: initdb takes longer than the
// rest of an engine's start.
func PostgresDir(t testing.TB, dir string) {
	t.Helper()
	Must(t, CopyCluster(dir))
}

// CopyCluster is PostgresDir outside a test.
func CopyCluster(dir string) error {
	from, err := cluster.shared("postgres", func(dir string) error {
		cmd, err := goCommand("run", "./test/harness/cluster", filepath.Join(dir, "postgres"))
		if err != nil {
			return err
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("make a Postgres cluster: %w\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		return err
	}
	from = filepath.Join(from, "postgres")
	info, err := os.Lstat(from)
	if err != nil || !info.IsDir() { // a link: the account of Postgres may not enter the temporary directory
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", from, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the Postgres cluster: %w\n%s", err, out)
	}
	return nil
}
