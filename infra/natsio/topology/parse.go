package topology

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Parse reads a topology: one or several YAML documents that each map names to
// a stream, a bucket or a consumer, told apart by their fields subjects, bucket
// and stream. It refuses what it does not know, and names the line.
func Parse(text []byte) (Topology, error) {
	var t Topology
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return t, fmt.Errorf("topology: %w", plain(err))
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
		return t, errors.New("topology: the file names no stream, bucket or consumer")
	}
	return t, nil
}

// entry is one named thing in the file.
type entry struct {
	key    string
	line   int
	node   ast.Node
	fields map[string]any
}

func entriesOf(body ast.Node) ([]entry, error) {
	m, ok := body.(ast.MapNode)
	if !ok {
		return nil, fmt.Errorf("topology: line %d: a map of names to streams, buckets and consumers is wanted", line(body))
	}
	var entries []entry
	for it := m.MapRange(); it.Next(); {
		e := entry{key: it.Key().GetToken().Value, line: line(it.Key()), node: it.Value()}
		if err := yaml.NodeToValue(e.node, &e.fields); err != nil {
			return nil, fmt.Errorf("topology: line %d, %s: the fields of a stream, bucket or consumer are wanted: %w", e.line, e.key, plain(err))
		}
		if e.fields == nil {
			return nil, fmt.Errorf("topology: line %d, %s: the fields of a stream, bucket or consumer are wanted", e.line, e.key)
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

// add decodes an entry by its kind. seen holds what has been named so far.
func (t *Topology) add(e entry, seen map[string]int) error {
	var kinds []string
	for _, mark := range []string{"subjects", "bucket", "stream"} {
		if _, ok := e.fields[mark]; ok {
			kinds = append(kinds, mark)
		}
	}
	if len(kinds) != 1 {
		return fmt.Errorf("exactly one of subjects (a stream), bucket and stream (a consumer) is wanted, here are %d %q", len(kinds), kinds)
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
		return fmt.Errorf("%s is already written in line %d", name, at)
	}
	seen[name] = e.line
	return nil
}

func decode(n ast.Node, to any) error {
	if err := yaml.NodeToValue(n, to, yaml.Strict()); err != nil {
		return plain(err)
	}
	return nil
}

// plain is a YAML error on one line, with its place.
func plain(err error) error {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		return fmt.Errorf("line %d: %s", at.GetToken().Position.Line, at.GetMessage())
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(first)
}

// duration reads seconds or Go's form; there is no negative one.
func duration(v any) (time.Duration, error) {
	var d time.Duration
	switch v := v.(type) {
	case nil:
	case uint64:
		if v > math.MaxInt64/uint64(time.Second) {
			return 0, fmt.Errorf("%d seconds are too long", v)
		}
		d = time.Duration(v) * time.Second
	case string:
		var err error
		if d, err = time.ParseDuration(v); err != nil {
			return 0, fmt.Errorf("%q is no duration: seconds as a number, or 30s, 5m, 1h", v)
		}
	default:
		return 0, fmt.Errorf("%v is no duration: whole seconds, or 30s, 5m, 1h", v)
	}
	if d < 0 {
		return 0, fmt.Errorf("a duration cannot be negative: %s", d)
	}
	return d, nil
}

var (
	bucketName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	streamName = regexp.MustCompile(`^[^\s.*>/\\]+$`)
)

func (s *Stream) check() error {
	if !streamName.MatchString(s.Name) {
		return fmt.Errorf("name %q: a stream's name has no spaces, dots, wildcards or slashes", s.Name)
	}
	if len(s.Subjects) == 0 {
		return errors.New("subjects: at least one is wanted")
	}
	return errors.Join(
		oneOf("storage", s.Storage, "file", "memory"), oneOf("retention", s.Retention, "limits", "interest", "workqueue"),
		oneOf("discard", s.Discard, "old", "new"), oneOf("compression", s.Compression, "none", "s2"),
		notNegative("max_msgs", s.MaxMsgs), notNegative("max_bytes", s.MaxBytes), notNegative("max_msg_size", int64(s.MaxMsgSize)),
		replicasIn(s.Replicas), s.Republish.check())
}

func (b *Bucket) check() error {
	if !bucketName.MatchString(b.Bucket) {
		return fmt.Errorf("bucket %q: letters, digits, _ and - are wanted", b.Bucket)
	}
	if b.History < 0 || b.History > 64 {
		return fmt.Errorf("history: 1 to 64, not %d", b.History)
	}
	return errors.Join(
		oneOf("storage", b.Storage, "file", "memory"), oneOf("compression", b.Compression, "none", "s2"),
		notNegative("max_bytes", b.MaxBytes), notNegative("max_value_size", int64(b.MaxValueSize)),
		replicasIn(b.Replicas), b.Republish.check())
}

func (c *Consumer) check() error {
	if !streamName.MatchString(c.Stream) || c.Name != "" && !streamName.MatchString(c.Name) {
		return fmt.Errorf("stream %q, name %q: no spaces, dots, wildcards or slashes", c.Stream, c.Name)
	}
	if (c.StartSequence != nil && *c.StartSequence > 0) != (c.DeliverPolicy == "by_start_sequence") {
		return fmt.Errorf("start_sequence (from 1) and deliver_policy by_start_sequence go together, here it is %q", c.DeliverPolicy)
	}
	if (c.StartTime != nil) != (c.DeliverPolicy == "by_start_time") {
		return fmt.Errorf("start_time and deliver_policy by_start_time go together, here it is %q", c.DeliverPolicy)
	}
	return errors.Join(
		oneOf("deliver_policy", c.DeliverPolicy, "all", "last", "new", "last_per_subject", "by_start_sequence", "by_start_time"),
		oneOf("ack_policy", c.AckPolicy, "explicit", "all", "none"), oneOf("replay_policy", c.ReplayPolicy, "instant", "original"),
		notNegative("max_deliver", int64(c.MaxDeliver)), notNegative("rate_limit", int64(c.RateLimit)),
		notNegative("max_ack_pending", int64(c.MaxAckPending)), notNegative("max_batch", int64(c.MaxBatch)),
		notNegative("max_bytes", int64(c.MaxBytes)))
}

func (r *Republish) check() error {
	if r != nil && r.Dest == "" {
		return errors.New("republish: dest is wanted")
	}
	return nil
}

func oneOf(field, value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is none of %s", field, value, strings.Join(allowed, ", "))
}

func notNegative(field string, v int64) error {
	if v < 0 {
		return fmt.Errorf("%s: %d is negative; 0 is without a limit", field, v)
	}
	return nil
}

func replicasIn(n int) error {
	if n < 0 || n > 5 {
		return fmt.Errorf("replicas: 1 to 5, not %d", n)
	}
	return nil
}
