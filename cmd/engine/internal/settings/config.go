// Package settings is the configuration of an engine: its flags, what is refused before
// anything is created or connected, and what follows from the values. It starts nothing.
package settings

import (
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/resources"
	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
	"github.com/tidemark-engine/tidemark/internal/certs"
	"github.com/tidemark-engine/tidemark/internal/keys"
)

// Config is the configuration of the engine. Each field is a flag, an
// environment variable and a key of the YAML file, where the names of nested
// keys are joined with a dash: limits: {clock_skew: 5s} is --limits-clock-skew.
type Config struct {
	Data         string        `help:"Data directory." default:"./data" env:"TIDEMARK_DATA" placeholder:"DIR"`
	NATS         string        `name:"nats" help:"External NATS server; default: embedded." env:"TIDEMARK_NATS" placeholder:"URL"`
	NATSAccess   natsio.Access `embed:"" prefix:"nats-" envprefix:"TIDEMARK_NATS_"`
	NATSListen   string        `name:"nats-listen" help:"Listener of the embedded server; other addresses than loopback need TLS and authentication." default:"127.0.0.1:4222" env:"TIDEMARK_NATS_LISTEN" placeholder:"ADDR"`
	Auth         string        `help:"on: only clients with credentials of a principal are admitted (engine auth add). off: clients of the embedded server need none; those of an external one share the engine's account." enum:"on,off" default:"off" env:"TIDEMARK_AUTH"`
	Postgres     string        `help:"External Postgres; 'off' = without SQL; default: a managed local one." env:"TIDEMARK_POSTGRES" placeholder:"URL"`
	TLS          certs.Files   `embed:"" envprefix:"TIDEMARK_"`
	HTTP         string        `name:"http" help:"Address of the web console, /healthz, /readyz, /metrics and /mcp." default:"127.0.0.1:8080" env:"TIDEMARK_HTTP" placeholder:"ADDR"`
	HTTPInsecure bool          `name:"http-insecure" help:"HTTP without TLS on other addresses than loopback, where only this machine or a proxy reaches them, such as the port of a container." env:"TIDEMARK_HTTP_INSECURE"`
	HTTPHosts    []string      `name:"http-hosts" help:"Host names by which clients reach HTTP; localhost, IP addresses and the names in the TLS certificate always do." env:"TIDEMARK_HTTP_HOSTS" placeholder:"NAME"`
	Pprof        bool          `name:"pprof" help:"Serve profiles of the running program below /debug/pprof/ of --http, which must be a loopback address." env:"TIDEMARK_PPROF"`
	Partitions   int           `help:"Partitions of a new journal; they cannot change later. 0 = those of the existing journal, or 1." default:"0" env:"TIDEMARK_PARTITIONS"`
	Durability   string        `help:"synced: the event is on disk before the acknowledgement. relaxed: within a second after it." enum:"synced,relaxed" default:"synced" env:"TIDEMARK_DURABILITY"`

	// ConsolePostgres has a password; the engine never logs or shows it.
	ConsolePostgres string `name:"console-postgres" help:"Login of the role that runs the SQL of the console on an external database; it must have no right but to read. The managed one has such a role." env:"TIDEMARK_CONSOLE_POSTGRES" placeholder:"URL"`

	PostgresSchema string `help:"Schema of the engine's tables. Engines on one journal use the same; others in the same database use another." default:"agents" env:"TIDEMARK_POSTGRES_SCHEMA" placeholder:"NAME"`

	AcceptJournal bool  `help:"Start although the journal is missing, another one, or shorter than SQL, KV or the data directory know; the views are rebuilt from it." env:"TIDEMARK_ACCEPT_JOURNAL"`
	DiskReserve   int64 `help:"Free bytes of the data directory's file system below which commands are refused with journal.full; 0 = 64 MiB, but at most 5% of the file system. Embedded NATS only." default:"0" env:"TIDEMARK_DISK_RESERVE"`

	Encryption string      `help:"on: values are encrypted with a key for each agent, so that an agent can be erased. It cannot be turned off later." enum:"on,off" default:"off" env:"TIDEMARK_ENCRYPTION"`
	Keys       keys.Source `embed:""`

	Search Search `help:"Let queries.state.find search entries by content, and keep indexes for it: alone = every key, or prefixes of keys, as in order.,note. . Each write of such an entry costs more." default:"off" env:"TIDEMARK_SEARCH" placeholder:"[PREFIX,…]"`

	Topology string `help:"YAML document of streams, buckets and consumers; default: the built-in one." type:"existingfile" env:"TIDEMARK_TOPOLOGY" placeholder:"FILE"`

	SubjectPrefix string            `help:"Prefix of every subject." env:"TIDEMARK_SUBJECT_PREFIX" placeholder:"PREFIX"`
	ReplyPrefixes []string          `help:"Subject prefixes that answers may be sent to; default: any but the engine's own subjects." env:"TIDEMARK_REPLY_PREFIXES"`
	Strategies    map[string]string `help:"Default conflict strategy by prefix of AGENT.KEY; the longest prefix wins." env:"TIDEMARK_STRATEGIES" placeholder:"PREFIX=STRATEGY"`

	FlushThreshold int           `help:"Number of dirty keys that makes the durable view flush." default:"50" env:"TIDEMARK_FLUSH_THRESHOLD"`
	FlushInterval  time.Duration `help:"Longest time from a dirty key to the start of its flush." default:"20ms" env:"TIDEMARK_FLUSH_INTERVAL"`

	Lifecycle string         `help:"auto: agents hydrate on access and expire when idle. manual: only by command." enum:"auto,manual" default:"auto" env:"TIDEMARK_LIFECYCLE"`
	IdleTTL   *time.Duration `name:"idle-ttl" help:"Idle time after which an active agent expires; 0 = never. Default: the TTL of bucket AGENT_STATE." env:"TIDEMARK_IDLE_TTL"`

	Retention map[string]string `help:"Delete state entries some time after their last write, by prefix of the key; the longest prefix wins, * = every key, 0 = never. Needs SQL." env:"TIDEMARK_RETENTION" placeholder:"PREFIX=30d"`

	OutboxRetention      time.Duration `help:"How long executed rows of agents.outbox are kept; 0 = for ever." default:"168h" env:"TIDEMARK_OUTBOX_RETENTION"`
	MessagesRetention    time.Duration `help:"How long rows of agents.messages are kept; 0 = for ever." default:"2160h" env:"TIDEMARK_MESSAGES_RETENTION"`
	ConflictsRetention   time.Duration `help:"How long rows of agents.conflicts are kept; 0 = for ever. Verify reports removed rows as differences." default:"0" env:"TIDEMARK_CONFLICTS_RETENTION"`
	DeadLettersRetention time.Duration `help:"How long dead letters are kept; 0 = until they are retried or dropped." default:"2160h" env:"TIDEMARK_DEAD_LETTERS_RETENTION"`

	AuditRate float64 `help:"Aggregates a second that the background audit verifies; 0 = none." default:"5" env:"TIDEMARK_AUDIT_RATE"`

	LimitsBody      int           `help:"Largest command body, in bytes." default:"524288" env:"TIDEMARK_LIMITS_BODY"`
	LimitsValue     int           `help:"Largest value, in bytes." default:"262144" env:"TIDEMARK_LIMITS_VALUE"`
	LimitsClockSkew time.Duration `help:"How far a client's clock may be ahead of the engine's." default:"5s" env:"TIDEMARK_LIMITS_CLOCK_SKEW"`
	LimitsRate      int           `help:"Commands and queries a second of each client (a principal, or a connection without credentials); more are refused with 429, and commands of a principal's reminders wait. 0 = no limit." default:"0" env:"TIDEMARK_LIMITS_RATE"`
	LimitsInFlight  int           `help:"Commands in flight; more are refused with 429." default:"8192" env:"TIDEMARK_LIMITS_IN_FLIGHT"`

	Memory string `help:"Memory that the engine plans with, as in 2GiB; near it the garbage collector works harder. 0 = it plans with an eighth of the machine, within 512MiB and 2GiB, and takes up to half of the machine for many entries." default:"0" env:"TIDEMARK_MEMORY" placeholder:"BYTES"`

	Log      string `help:"Log level." enum:"debug,info,warn,error" default:"info" env:"TIDEMARK_LOG"`
	LogStyle string `help:"auto: text on a terminal, JSON elsewhere." enum:"auto,text,json" default:"auto" env:"TIDEMARK_LOG_STYLE"`

	document topology.Topology // of Topology; see Check
}

// Validate refuses values that no engine can run with, before anything is created. The
// error names the flag.
func (c *Config) Validate() error {
	if _, err := c.Bounds(); err != nil {
		return err
	}
	if _, _, err := c.MemoryPlan(); err != nil {
		return err
	}
	if _, err := c.NATSAccess.Options(); err != nil {
		return fmt.Errorf("--nats-*: %w", err)
	}
	if c.Topology != "" && c.Topology != "-" {
		if _, err := ReadTopology(c.Topology); err != nil {
			return fmt.Errorf("--topology: %w", err)
		}
	}
	if err := c.TLS.Check(); err != nil {
		return err
	}
	if err := c.Keys.Validate(); err != nil {
		return err
	}
	if err := c.checkServers(); err != nil {
		return err
	}
	if err := c.checkPprof(); err != nil {
		return err
	}
	return c.checkPlaces()
}

const (
	smallestMemory = 256 << 20
	largestLimit   = 64 << 20 // NATS takes no larger message
	longest        = 10 * 365 * 24 * time.Hour
)

// MemoryPlan is the memory in bytes that the engine plans with, and the bound near which the
// collector works harder: the index of the server grows with the entries, and a collector that
// has no room beside it takes half of the processor.
func (c *Config) MemoryPlan() (planned, bound uint64, err error) {
	n, err := humanize.ParseBytes(c.Memory)
	if err != nil || n != 0 && n < smallestMemory {
		return 0, 0, fmt.Errorf("--memory %q must be 0 or at least 256MiB", c.Memory)
	}
	if n > 0 {
		return n, n, nil
	}
	machine := resources.MachineMemory()
	planned = min(max(machine/8, 512<<20), 2<<30)
	return planned, max(planned, machine/2), nil
}

// Bounds are the limits of commands.
func (c *Config) Bounds() (commands.Bounds, error) {
	b := commands.Bounds{
		BodyBytes: c.LimitsBody, ValueBytes: c.LimitsValue, ClockSkew: c.LimitsClockSkew,
		Strategies: make(commands.Strategies, len(c.Strategies)), Prefix: natsio.NewSubjects(c.SubjectPrefix).Root(""),
	}
	for prefix, name := range c.Strategies {
		s, err := agent.ParseStrategy(name)
		if err != nil {
			return b, fmt.Errorf("--strategies %s: %w", prefix, err)
		}
		b.Strategies[prefix] = s
	}
	if _, err := c.RetentionAges(); err != nil {
		return b, err
	}
	for _, f := range [...]struct {
		flag             string
		value, low, high float64
		form             string
	}{
		{"--limits-body", float64(c.LimitsBody), 1, largestLimit, "1 to 67108864 bytes"},
		{"--limits-value", float64(c.LimitsValue), 1, largestLimit, "1 to 67108864 bytes"},
		{"--limits-rate", float64(c.LimitsRate), 0, 1e6, "0 to 1000000"},
		{"--limits-in-flight", float64(c.LimitsInFlight), 1, 1e6, "1 to 1000000"},
		{"--limits-clock-skew", float64(c.LimitsClockSkew), 0, float64(time.Minute), "0 to 1m"},
		{"--audit-rate", c.AuditRate, 0, 10_000, "0 to 10000"},
		{"--partitions", float64(c.Partitions), 0, 64, "1 to 64, or 0 for those of the journal"},
		{"--flush-threshold", float64(c.FlushThreshold), 1, 1e6, "1 to 1000000"},
		{"--flush-interval", float64(c.FlushInterval), 0, float64(time.Minute), "0 to 1m"},
		{"--disk-reserve", float64(c.DiskReserve), 0, 1 << 62, "at least 0 bytes"},
		{"--outbox-retention", float64(c.OutboxRetention), 0, float64(longest), "0 to 87600h; 0 keeps everything"},
		{"--messages-retention", float64(c.MessagesRetention), 0, float64(longest), "0 to 87600h; 0 keeps everything"},
		{"--conflicts-retention", float64(c.ConflictsRetention), 0, float64(longest), "0 to 87600h; 0 keeps everything"},
		{"--dead-letters-retention", float64(c.DeadLettersRetention), 0, float64(longest), "1s to 87600h; 0 keeps everything"},
	} {
		if !(f.value >= f.low && f.value <= f.high) { // also NaN
			return b, fmt.Errorf("%s must be %s", f.flag, f.form)
		}
	}
	if c.IdleTTL != nil && (*c.IdleTTL < 0 || *c.IdleTTL > longest) {
		return b, errors.New("--idle-ttl must be 0 to 87600h")
	}
	if c.DeadLettersRetention > 0 && c.DeadLettersRetention < time.Second {
		return b, errors.New("--dead-letters-retention must be 1s to 87600h; 0 keeps everything")
	}
	return b, nil
}

const defaultReserve = 64 << 20

// Reserve is how much of a file system the engine leaves free.
func (c *Config) Reserve(size int64) int64 {
	if c.DiskReserve > 0 {
		return c.DiskReserve
	}
	return min(defaultReserve, size/20)
}
