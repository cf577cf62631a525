package local

import (
	"cmp"
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
	"time"
)

// The supported majors: 15 is what Debian 12 ships.
const (
	oldest = 15
	newest = 18
)

// EnvBinDir names the directory of postgres and initdb, for every search that
// is given no hint.
const EnvBinDir = "TIDEMARK_PG_BIN"

const install = "run `make postgres`, or install it: apt-get install postgresql"

type binaries struct {
	dir     string
	version string // "15.18"
	major   int
}

func (b binaries) String() string { return fmt.Sprintf("%s (%s)", b.version, b.dir) }

// FindBinaries returns the directory that holds postgres and initdb, and their
// major version, 15 to 18. A hint, else $TIDEMARK_PG_BIN, is taken at its word:
// nothing else is tried. Without one the highest major wins among PATH, the
// distributions' directories, .tools/pg of this clone and /var/lib/tidemark/pg.
// Programs that the user who is to run them cannot execute do not count; the
// error names them, and what to run.
func FindBinaries(hint string) (dir string, major int, err error) {
	as, err := unprivileged()
	if err != nil {
		return "", 0, err
	}
	found, err := find(hint, as)
	if err != nil {
		return "", 0, err
	}
	return found[0].dir, found[0].major, nil
}

// find returns every usable place, highest major first; at least one.
func find(hint string, as account) ([]binaries, error) {
	places := wellKnown()
	explicit := cmp.Or(hint, os.Getenv(EnvBinDir))
	if explicit != "" {
		places = []string{explicit, filepath.Join(explicit, "bin")}
	}
	var found []binaries
	var unusable []string
	seen := map[string]bool{}
	for _, place := range places {
		program, err := resolve(filepath.Join(place, "postgres"))
		if err != nil || seen[program] {
			continue
		}
		seen[program] = true
		if b, err := probe(filepath.Dir(program), as); err != nil {
			unusable = append(unusable, err.Error())
		} else {
			found = append(found, b)
		}
	}
	slices.SortStableFunc(found, func(a, b binaries) int { return b.major - a.major })
	switch {
	case len(found) > 0:
		return found, nil
	case len(unusable) > 0:
		return nil, fmt.Errorf("no usable PostgreSQL %d to %d (%s): %s", oldest, newest, strings.Join(unusable, "; "), install)
	case explicit != "":
		return nil, fmt.Errorf("no postgres in %s, which was given as its directory: correct it, or %s", explicit, install)
	}
	return nil, fmt.Errorf("no PostgreSQL found: %s", install)
}

func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// probe asks the postgres in dir for its version, as the user who is to run it:
// this also shows that the user may execute it and that its libraries load.
func probe(dir string, as account) (binaries, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, fmt.Errorf("%s has postgres but no initdb", dir)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := run(ctx, as.command("/", filepath.Join(dir, "postgres"), "-V"))
	if errors.Is(err, fs.ErrPermission) {
		return binaries{}, fmt.Errorf("user %s may not execute %s/postgres", as.name, dir)
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
	if b.major < oldest || b.major > newest {
		return binaries{}, fmt.Errorf("%s is version %s", dir, b.version)
	}
	return b, nil
}
