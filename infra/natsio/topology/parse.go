package topology

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Parse reads a topology: one or more YAML documents, each a map of names to
// streams, buckets and consumers. The field subjects marks a stream, bucket a
// bucket, stream a consumer. Errors for unknown fields and bad values name the
// line.
func Parse(text []byte) (Topology, error) {
	var t Topology
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return t, fmt.Errorf("topology: %w", oneLine(err))
	}
	seen := map[string]int{}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		entries, err := entriesOf(doc.Body)
		if err != nil {
			return t, err
		}
		for _, e := range entries {
			if err := t.add(e, seen); err != nil {
				return t, fmt.Errorf("topology: line %d, %s: %w", e.line, e.key, err)
			}
		}
	}
	if len(seen) == 0 {
		return t, errors.New("topology: the document names no stream, bucket or consumer")
	}
	return t, nil
}

// entry is one key of the document.
type entry struct {
	key    string
	line   int
	node   ast.Node
	fields map[string]any
}

func entriesOf(body ast.Node) ([]entry, error) {
	m, ok := body.(ast.MapNode)
	if !ok {
		return nil, fmt.Errorf("topology: line %d: expected a map of names to streams, buckets and consumers", line(body))
	}
	var entries []entry
	for it := m.MapRange(); it.Next(); {
		e := entry{key: it.Key().GetToken().Value, line: line(it.Key()), node: it.Value()}
		if err := yaml.NodeToValue(e.node, &e.fields); err != nil {
			return nil, fmt.Errorf("topology: line %d, %s: expected the fields of a stream, bucket or consumer: %w", e.line, e.key, oneLine(err))
		}
		if e.fields == nil {
			return nil, fmt.Errorf("topology: line %d, %s: expected the fields of a stream, bucket or consumer", e.line, e.key)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func line(n ast.Node) int {
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		return tk.Position.Line
	}
	return 0
}

// add decodes an entry by its kind. seen has the line of each name so far.
func (t *Topology) add(e entry, seen map[string]int) error {
	var kinds []string
	for _, mark := range []string{"subjects", "bucket", "stream"} {
		if _, ok := e.fields[mark]; ok {
			kinds = append(kinds, mark)
		}
	}
	if len(kinds) != 1 {
		return fmt.Errorf("expected exactly one of the fields subjects (a stream), bucket and stream (a consumer), found %d %q", len(kinds), kinds)
	}
	var name string
	var err error
	switch kinds[0] {
	case "subjects":
		var s Stream
		if err = decode(e.node, &s); err == nil {
			err = s.check()
		}
		t.Streams, name = append(t.Streams, s), "stream "+s.Name
	case "bucket":
		var b Bucket
		if err = decode(e.node, &b); err == nil {
			err = b.check()
		}
		t.Buckets, name = append(t.Buckets, b), "bucket "+b.Bucket
	default:
		c := Consumer{Key: e.key}
		if err = decode(e.node, &c); err == nil {
			err = c.check()
		}
		value, written := e.fields["start_time"]
		c.nullTime = written && value == nil
		t.Consumers, name = append(t.Consumers, c), "consumer "+c.Stream+" "+c.Name
		if c.Name == "" {
			name += "(" + e.key + ")"
		}
	}
	if err != nil {
		return err
	}
	if at := seen[name]; at > 0 {
		return fmt.Errorf("%s is already defined in line %d", name, at)
	}
	seen[name] = e.line
	return nil
}

func decode(n ast.Node, to any) error {
	if err := yaml.NodeToValue(n, to, yaml.Strict()); err != nil {
		return oneLine(err)
	}
	return nil
}

// oneLine shortens a YAML error to its line number and message.
func oneLine(err error) error {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		return fmt.Errorf("line %d: %s", at.GetToken().Position.Line, at.GetMessage())
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(first)
}
