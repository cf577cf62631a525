package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/view"
)

// maxViewFile is the size of the longest file with a definition, in bytes.
const maxViewFile = 256 << 10

// readDefinition reads a definition in YAML or JSON from a file; - is standard input.
func readDefinition(path string) (view.Definition, error) {
	text, err := readViewFile(path)
	if err != nil {
		return view.Definition{}, err
	}
	if !json.Valid(text) {
		if text, err = yamlToJSON(text); err != nil {
			return view.Definition{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	var named struct {
		Name *string `json:"name"`
	}
	err = json.Unmarshal(text, &named) // of another type: Parse says so
	if err == nil && named.Name == nil {
		return view.Definition{}, fmt.Errorf("%s: %w", path, domain.MissingField("name").With("place", "/name"))
	}
	name := "v"
	if err == nil {
		name = *named.Name
	}
	d, err := view.Parse(name, text)
	if err != nil {
		return view.Definition{}, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func readViewFile(path string) ([]byte, error) {
	file := os.Stdin
	if path == "-" {
		path = "standard input"
	} else {
		opened, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer opened.Close() // read-only
		file = opened
	}
	text, err := io.ReadAll(io.LimitReader(file, maxViewFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the definition from %s: %w", path, err)
	case len(text) > maxViewFile:
		return nil, fmt.Errorf("%s has more than %d bytes, a definition has less", path, maxViewFile)
	case len(bytes.TrimSpace(text)) == 0:
		return nil, fmt.Errorf("%s is empty", path)
	}
	return text, nil
}

// yamlToJSON turns one YAML document into JSON.
func yamlToJSON(text []byte) ([]byte, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var tree, more any
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("it is neither YAML nor JSON: %s", yaml.FormatError(err, false, false))
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has more than one YAML document")
	}
	return json.Marshal(tree)
}

// viewYAML is a definition as a file that view add takes.
func viewYAML(d view.Definition) ([]byte, error) {
	all := yaml.MapSlice{{Key: "name", Value: d.Name}, {Key: "from", Value: d.From}}
	for _, pattern := range []yaml.MapItem{{Key: "agents", Value: d.Agents}, {Key: "keys", Value: d.Keys}} {
		if pattern.Value != "" {
			all = append(all, pattern)
		}
	}
	columns := yaml.MapSlice{}
	for _, c := range d.Columns {
		columns = append(columns, yaml.MapItem{Key: c.Name, Value: yaml.MapSlice{{Key: "path", Value: c.Path}, {Key: "type", Value: c.Type}}})
	}
	if len(columns) > 0 {
		all = append(all, yaml.MapItem{Key: "columns", Value: columns})
	}
	if g := d.Group; g != nil {
		group := yaml.MapSlice{}
		if len(g.By) > 0 {
			group = append(group, yaml.MapItem{Key: "by", Value: g.By})
		}
		if g.Count {
			group = append(group, yaml.MapItem{Key: "count", Value: true})
		}
		if len(g.Sum) > 0 {
			group = append(group, yaml.MapItem{Key: "sum", Value: g.Sum})
		}
		all = append(all, yaml.MapItem{Key: "group", Value: group})
	}
	return yaml.Marshal(append(all, yaml.MapItem{Key: "into", Value: d.Into}))
}
