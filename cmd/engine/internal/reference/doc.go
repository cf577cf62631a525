// Package reference renders docs/reference from the declarations in internal/contract and
// from the program's own table of flags: Markdown, JSON Schemas and an AsyncAPI document. It
// returns files and writes none.
package reference

import (
	"bytes"
	"encoding/json"

	"github.com/alecthomas/kong"
)

// Files are the generated files by their paths below docs/reference.
func Files(program *kong.Application) (map[string][]byte, error) {
	files := map[string][]byte{
		"commands.md":    commands(),
		"queries.md":     queries(),
		"events.md":      eventTypes(),
		"objects.md":     objects(),
		"errors.md":      errorCodes(),
		"storage.md":     storage(),
		"serve.md":       serveFlags(program),
		"subcommands.md": subcommands(program),
	}
	documents := schemas()
	documents["asyncapi.json"] = asyncAPI()
	for path, doc := range documents {
		text, err := encode(doc)
		if err != nil {
			return nil, err
		}
		files[path] = text
	}
	return files, nil
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}
