package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The supported majors. Debian 12 ships 15.
const (
	oldestMajor = 15
	newestMajor = 18
)

// binDirEnv names the directory of postgres and initdb; the search then looks
// nowhere else.
const binDirEnv = "TIDEMARK_PG_BIN"

const installHint = "run `make postgres`, or install it: apt-get install postgresql"

// binaries is one installation of PostgreSQL.
type binaries struct {
	dir     string
	version string // "15.18"
	major   int
}

func (b binaries) String() string { return fmt.Sprintf("%s (%s)", b.version, b.dir) }

// chooseBinaries returns the highest major for a new cluster (major 0), and the
// given major for an existing one: only the major that created a data directory
// can read it (PostgreSQL manual, "Upgrading a PostgreSQL Cluster").
func chooseBinaries(ctx context.Context, major int, as account) (binaries, error) {
	found, err := findBinaries(ctx, as)
	if err != nil && major != 0 {
		err = fmt.Errorf("%w (the cluster needs PostgreSQL %d)", err, major)
	}
	if err != nil {
		return binaries{}, err
	}
	for _, b := range found {
		if major == 0 || b.major == major {
			return b, nil
		}
	}
	return binaries{}, fmt.Errorf("PostgreSQL %d created the cluster, and only %v was found; nothing was changed: "+
		"install PostgreSQL %d (apt-get install postgresql-%d) or name its directory with %s, or move the cluster away to begin an empty one",
		major, found, major, major, binDirEnv)
}

// findBinaries returns the installations that the account can run, highest
// major first. Without an error there is at least one.
func findBinaries(ctx context.Context, as account) ([]binaries, error) {
	where, dirs := "PATH and the usual directories", searchPaths()
	if given := os.Getenv(binDirEnv); given != "" {
		where, dirs = binDirEnv+"="+given, []string{given, filepath.Join(given, "bin")}
	}
	var found []binaries
	problems := []string{fmt.Sprintf("no usable PostgreSQL %d to %d in %s", oldestMajor, newestMajor, where)}
	seen := map[string]bool{}
	for _, dir := range dirs {
		program, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
		if err != nil || seen[program] {
			continue
		}
		seen[program] = true
		if b, err := probeBinaries(ctx, filepath.Dir(program), as); err != nil {
			problems = append(problems, err.Error())
		} else {
			found = append(found, b)
		}
	}
	slices.SortStableFunc(found, func(a, b binaries) int { return b.major - a.major })
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: %s", strings.Join(problems, "; "), installHint)
	}
	return found, nil
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// probeBinaries runs postgres -V as the account: this also proves that the
// account may execute it and that its libraries load.
func probeBinaries(ctx context.Context, dir string, as account) (binaries, error) {
	if !exists(filepath.Join(dir, "initdb")) {
		return binaries{}, fmt.Errorf("%s has postgres but no initdb", dir)
	}
	out, err := as.run(ctx, "/", filepath.Join(dir, "postgres"), "-V")
	if errors.Is(err, fs.ErrPermission) {
		return binaries{}, fmt.Errorf("user %s may not execute %s/postgres", as, dir)
	}
	if err != nil {
		return binaries{}, fmt.Errorf("%s/postgres -V: %w: %s", dir, err, strings.TrimSpace(out))
	}
	m := versionLine.FindStringSubmatch(out)
	if m == nil {
		return binaries{}, fmt.Errorf("%s/postgres -V answered %q", dir, strings.TrimSpace(out))
	}
	b := binaries{dir: dir, version: m[1]}
	b.major, _ = strconv.Atoi(m[2])
	if b.major < oldestMajor || b.major > newestMajor {
		return binaries{}, fmt.Errorf("%s is version %s", dir, b.version)
	}
	return b, nil
}
