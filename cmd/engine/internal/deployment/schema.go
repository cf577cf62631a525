package deployment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/internal/files"
)

// RememberSchema notes in a new data directory the schema of its tables, and fails where
// the directory has another one; schema is "" for an engine without SQL, which keeps the
// note. A directory of an earlier build, which has no note, has the schema agents.
func RememberSchema(data, schema string) error {
	path := filepath.Join(data, "postgres-schema")
	note, err := os.ReadFile(path)
	known := strings.TrimSpace(string(note))
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(journalPath(data))
		if earlier := err == nil; earlier {
			known = string(pg.Live)
		} else if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else if err == nil && known == schema {
		return nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("read which schema the data directory has its tables in: %w", err)
	case schema == "" && note != nil:
		return nil
	case schema != "" && known != "" && known != schema:
		return Usagef("--postgres-schema %[1]s: the tables of the data directory %[2]s are in the schema %[3]s. Start with --postgres-schema %[3]s; "+
			"if the schema was renamed, write its new name into %[4]s", schema, data, known, path)
	}
	if schema == "" {
		schema = known
	}
	return files.Replace(path, []byte(schema+"\n"))
}
