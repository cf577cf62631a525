package pg

import (
	"io/fs"
	"strconv"
	"strings"
)

// SchemaVersion is the number of the newest migration, the schema that this build
// needs.
func SchemaVersion() (newest int64) {
	files, _ := fs.Glob(migrations, "migrations/*.sql") // the pattern is valid
	for _, name := range files {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			newest = max(newest, n)
		}
	}
	return newest
}
