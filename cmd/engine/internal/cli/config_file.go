package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// ConfigFile is the kong option that reads the file of --config. Its values have
// precedence over the defaults; flags and the environment over its values. The
// file is found before kong parses the arguments, because with TIDEMARK_CONFIG
// it holds for every subcommand, of which only serve has the flag.
func ConfigFile(args []string) kong.Option {
	var paths []string
	if path := os.Getenv("TIDEMARK_CONFIG"); path != "" {
		paths = []string{path}
	}
	for i, a := range args {
		if path, ok := strings.CutPrefix(a, "--config="); ok {
			paths = []string{path}
		} else if a == "--config" && i+1 < len(args) {
			paths = []string{args[i+1]}
		}
	}
	return kong.Configuration(loadYAML, paths...)
}

// yamlKeys are the values of a configuration file. The names of nested keys are
// joined with a dash, as in flags.
type yamlKeys map[string]any

func loadYAML(r io.Reader) (kong.Resolver, error) {
	var tree map[string]any
	if err := yaml.NewDecoder(r).Decode(&tree); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("configuration file: %s", yaml.FormatError(err, false, false)) // without the source: it may hold secrets
	}
	keys := yamlKeys{}
	keys.flatten("", tree)
	if n, ok := keys["journal-partitions"]; ok { // another name of it
		if _, twice := keys["partitions"]; twice {
			return nil, errors.New("configuration file: partitions and journal.partitions are the same setting: give one of them")
		}
		delete(keys, "journal-partitions")
		keys["partitions"] = n
	}
	return keys, nil
}

func (y yamlKeys) flatten(path string, tree map[string]any) {
	for name, value := range tree {
		name = path + strings.ReplaceAll(name, "_", "-")
		if sub, ok := value.(map[string]any); ok && name != "strategies" {
			y.flatten(name+"-", sub)
			continue
		}
		y[name] = value
	}
}

// Validate implements kong.Resolver: it refuses a key that is not a flag.
func (y yamlKeys) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, cmd := range app.Leaves(true) {
		for _, group := range cmd.AllFlags(true) {
			for _, f := range group {
				known[f.Name] = true
			}
		}
	}
	var unknown []string
	for name := range y {
		if !known[name] {
			unknown = append(unknown, name)
		}
	}
	if sort.Strings(unknown); len(unknown) > 0 {
		var near []string
		for _, name := range unknown {
			near = append(near, nearest(name, slices.Collect(maps.Keys(known)))...)
		}
		return fmt.Errorf("configuration file: unknown keys: %s%s", strings.Join(unknown, ", "), didYouMean(near))
	}
	return nil
}

// Resolve implements kong.Resolver. Kong asks a resolver even for a flag that
// the environment sets, and would let the file win.
func (y yamlKeys) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	value, ok := y[flag.Name]
	if !ok || slices.ContainsFunc(flag.Envs, func(name string) bool { _, set := os.LookupEnv(name); return set }) {
		return nil, nil
	}
	switch v := value.(type) {
	case map[string]any:
		var pairs []string
		for k, s := range v {
			pairs = append(pairs, fmt.Sprintf("%s=%v", k, s))
		}
		return strings.Join(pairs, ";"), nil
	case []any:
		var parts []string
		for _, s := range v {
			parts = append(parts, fmt.Sprint(s))
		}
		return strings.Join(parts, ","), nil
	}
	return fmt.Sprint(value), nil
}
