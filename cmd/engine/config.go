package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain/agent"
)

// serveCmd is the whole configuration of the engine: each field is a flag, an
// environment variable and a key of the YAML file, where nested keys join with
// a dash (limits: {clock_skew: 5s} is --limits-clock-skew).
type serveCmd struct {
	Config     string `help:"YAML file with any of these flags as keys." type:"existingfile" env:"TIDEMARK_CONFIG" placeholder:"FILE"`
	Data       string `help:"Data directory." default:"./data" env:"TIDEMARK_DATA" placeholder:"DIR"`
	NATS       string `name:"nats" help:"External NATS server; default: embedded." env:"TIDEMARK_NATS" placeholder:"URL"`
	NATSListen string `name:"nats-listen" help:"Loopback listener of the embedded server." default:"127.0.0.1:4222" env:"TIDEMARK_NATS_LISTEN" placeholder:"ADDR"`
	Postgres   string `help:"External Postgres; 'off' = without SQL; default: a managed local one." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
	HTTP       string `name:"http" help:"Address of /healthz, /readyz and /metrics." default:"127.0.0.1:8080" env:"TIDEMARK_HTTP" placeholder:"ADDR"`
	Partitions int    `help:"Journal partitions; fixed when the journal is made. 0 = as it is, or 1." default:"0" env:"TIDEMARK_PARTITIONS"`
	Durability string `help:"synced: the journal is on disk before the ack. relaxed: within a second after." enum:"synced,relaxed" default:"synced" env:"TIDEMARK_DURABILITY"`

	Topology string `help:"YAML of streams, buckets and consumers in the seed's form; default: the one built in." env:"TIDEMARK_TOPOLOGY" placeholder:"FILE"`

	SubjectPrefix string            `help:"Put before every subject root." env:"TIDEMARK_SUBJECT_PREFIX" placeholder:"PREFIX"`
	ReplyPrefixes []string          `help:"Subject prefixes that answers may go to." default:"_INBOX.,_R_." env:"TIDEMARK_REPLY_PREFIXES"`
	Strategies    map[string]string `help:"Default conflict strategy by prefix of AGENT.KEY; the longest wins." env:"TIDEMARK_STRATEGIES" placeholder:"PREFIX=STRATEGY"`

	FlushThreshold int           `help:"Dirty keys that make the durable view flush." default:"50" env:"TIDEMARK_FLUSH_THRESHOLD"`
	FlushInterval  time.Duration `help:"The longest a dirty key waits for its flush to start." default:"20ms" env:"TIDEMARK_FLUSH_INTERVAL"`

	Lifecycle string        `help:"auto: agents hydrate when touched and expire when silent. manual: only by command." enum:"auto,manual" default:"auto" env:"TIDEMARK_LIFECYCLE"`
	IdleTTL   time.Duration `name:"idle-ttl" help:"Silence after which an active agent expires; 0 = never." default:"30m" env:"TIDEMARK_IDLE_TTL"`

	AuditRate float64 `help:"Aggregates a second that the background audit checks; 0 = none." default:"5" env:"TIDEMARK_AUDIT_RATE"`

	LimitsBody      int           `help:"Largest command body, in bytes." default:"524288" env:"TIDEMARK_LIMITS_BODY"`
	LimitsValue     int           `help:"Largest value, in bytes." default:"262144" env:"TIDEMARK_LIMITS_VALUE"`
	LimitsClockSkew time.Duration `help:"How far ahead of the engine a client's clock may be." default:"5s" env:"TIDEMARK_LIMITS_CLOCK_SKEW"`
	LimitsInFlight  int           `help:"Commands taken at once; beyond is 429." default:"8192" env:"TIDEMARK_LIMITS_IN_FLIGHT"`

	Log      string `help:"Log level." enum:"debug,info,warn,error" default:"info" env:"TIDEMARK_LOG"`
	LogStyle string `help:"auto: text on a terminal, JSON elsewhere." enum:"auto,text,json" default:"auto" env:"TIDEMARK_LOG_STYLE"`
}

// Validate lets kong refuse a configuration that cannot be, as a usage error.
func (c *serveCmd) Validate() error {
	_, err := c.bounds()
	return err
}

// bounds are the limits that commands are read under.
func (c *serveCmd) bounds() (commands.Bounds, error) {
	b := commands.Bounds{
		BodyBytes: c.LimitsBody, ValueBytes: c.LimitsValue, ClockSkew: c.LimitsClockSkew,
		Strategies: make(commands.Strategies, len(c.Strategies)),
	}
	for prefix, name := range c.Strategies {
		s, err := agent.ParseStrategy(name)
		if err != nil {
			return b, fmt.Errorf("--strategies %s: %w", prefix, err)
		}
		b.Strategies[prefix] = s
	}
	switch {
	case c.LimitsBody < 1 || c.LimitsValue < 1 || c.LimitsInFlight < 1:
		return b, fmt.Errorf("--limits-*: a limit must be at least 1")
	case c.LimitsClockSkew < 0 || c.LimitsClockSkew > time.Minute:
		return b, fmt.Errorf("--limits-clock-skew must be 0 to 1m")
	case c.AuditRate < 0 || c.AuditRate > 10_000:
		return b, fmt.Errorf("--audit-rate must be 0 to 10000")
	case c.Partitions < 0 || c.Partitions > 64:
		return b, fmt.Errorf("--partitions must be 1 to 64")
	case c.FlushThreshold < 1 || c.FlushInterval < 0 || c.FlushInterval > time.Minute:
		return b, fmt.Errorf("--flush-threshold must be at least 1 and --flush-interval 0 to 1m")
	}
	return b, nil
}

// configFile finds --config among the arguments, so that the file's values are
// defaults to the flags and the environment.
func configFile(args []string) []string {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			return []string{v}
		}
		if a == "--config" && i+1 < len(args) {
			return []string{args[i+1]}
		}
	}
	if v := os.Getenv("TIDEMARK_CONFIG"); v != "" {
		return []string{v}
	}
	return nil
}

// yamlKeys are the keys of a configuration file, joined by dashes.
type yamlKeys map[string]any

// loadYAML reads a configuration file for kong.
func loadYAML(r io.Reader) (kong.Resolver, error) {
	var tree map[string]any
	if err := yaml.NewDecoder(r).Decode(&tree); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	keys := yamlKeys{}
	keys.flatten("", tree)
	return keys, nil
}

func (y yamlKeys) flatten(path string, tree map[string]any) {
	for name, value := range tree {
		name = path + strings.ReplaceAll(name, "_", "-")
		if sub, ok := value.(map[string]any); ok && name != "strategies" {
			y.flatten(name+"-", sub)
			continue
		}
		y[aliases(name)] = value
	}
}

// aliases maps the contract's nested names to flags.
func aliases(name string) string {
	if name == "journal-partitions" {
		return "partitions"
	}
	return name
}

// Validate implements kong.Resolver: a key that is no flag is a mistake.
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
		return fmt.Errorf("configuration file: unknown keys: %s", strings.Join(unknown, ", "))
	}
	return nil
}

// Resolve implements kong.Resolver. The environment goes before the file.
func (y yamlKeys) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	value, ok := y[flag.Name]
	if !ok || envSet(flag) {
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
