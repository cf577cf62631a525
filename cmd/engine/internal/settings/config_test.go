package settings

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/internal/certs"
)

// Values that no engine can run with are refused by the name of their flag.
func TestFlagsAreValidated(t *testing.T) {
	valid := func() *Config {
		return &Config{
			Data: "data", NATSListen: "127.0.0.1:0", HTTP: "127.0.0.1:0", FlushThreshold: 50, FlushInterval: time.Millisecond, Memory: "0",
			LimitsBody: 1, LimitsValue: 1, LimitsInFlight: 1, PostgresSchema: "agents", ReplyPrefixes: []string{"_INBOX."},
		}
	}
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	for flag, wrong := range map[string][]func(*Config){
		"--audit-rate": {
			func(c *Config) { c.AuditRate = math.NaN() }, func(c *Config) { c.AuditRate = math.Inf(1) }, func(c *Config) { c.AuditRate = -1 },
			func(c *Config) { c.AuditRate = 1e9 },
		},
		"--idle-ttl":          {func(c *Config) { c.IdleTTL = new(time.Duration(-1)) }, func(c *Config) { c.IdleTTL = new(time.Duration(math.MaxInt64)) }},
		"--flush-interval":    {func(c *Config) { c.FlushInterval = -1 }, func(c *Config) { c.FlushInterval = time.Hour }},
		"--flush-threshold":   {func(c *Config) { c.FlushThreshold = 0 }, func(c *Config) { c.FlushThreshold = math.MaxInt }},
		"--limits-clock-skew": {func(c *Config) { c.LimitsClockSkew = -1 }, func(c *Config) { c.LimitsClockSkew = time.Hour }},
		"--limits-body":       {func(c *Config) { c.LimitsBody = 0 }, func(c *Config) { c.LimitsBody = 1 << 40 }},
		"--limits-value":      {func(c *Config) { c.LimitsValue = -5 }, func(c *Config) { c.LimitsValue = 1 << 40 }},
		"--limits-rate":       {func(c *Config) { c.LimitsRate = -1 }, func(c *Config) { c.LimitsRate = 1 << 40 }},
		"--limits-in-flight":  {func(c *Config) { c.LimitsInFlight = 0 }, func(c *Config) { c.LimitsInFlight = 1 << 40 }},
		"--partitions":        {func(c *Config) { c.Partitions = -1 }, func(c *Config) { c.Partitions = 65 }},
		"--memory":            {func(c *Config) { c.Memory = "1KiB" }, func(c *Config) { c.Memory = "lots" }, func(c *Config) { c.Memory = "-1" }},
		"--data":              {func(c *Config) { c.Data = "" }},
		"--http": {func(c *Config) { c.HTTP = "" }, func(c *Config) { c.HTTP = "8080" }, func(c *Config) { c.HTTP = "a:b" }, func(c *Config) { c.HTTP = "a:70000" },
			func(c *Config) { c.HTTP = "0.0.0.0:8080" }, func(c *Config) { c.HTTP = ":8080" }, func(c *Config) { c.HTTP = "[::]:0" },
			func(c *Config) { c.HTTP = "example.org:80" }, func(c *Config) { c.HTTP = "192.0.2.1:0" },
		},
		"--pprof": {
			func(c *Config) { c.Pprof, c.HTTPInsecure, c.HTTP = true, true, "0.0.0.0:8080" }, func(c *Config) { c.Pprof, c.HTTPInsecure, c.HTTP = true, true, ":8080" },
		},
		"--http-hosts":    {func(c *Config) { c.HTTPHosts = []string{"a b"} }, func(c *Config) { c.HTTPHosts = []string{"http://a"} }},
		"--tls-cert":      {func(c *Config) { c.TLS.Key = "x" }, func(c *Config) { c.TLS.Cert = "none" }, func(c *Config) { c.TLS = certs.Files{Cert: "none", Key: "none"} }},
		"--tls-client-ca": {func(c *Config) { c.TLS.ClientCA = "x" }},
		"--nats-listen":   {func(c *Config) { c.NATSListen = "x" }, func(c *Config) { c.NATSListen = "0.0.0.0:4222" }},
		"--postgres":      {func(c *Config) { c.Postgres = "://secret" }},
		"--postgres-schema": {
			func(c *Config) { c.PostgresSchema = "" }, func(c *Config) { c.PostgresSchema = "pg_x" }, func(c *Config) { c.PostgresSchema = "user" },
			func(c *Config) { c.PostgresSchema = "public" }, func(c *Config) { c.PostgresSchema = "a_next" }, func(c *Config) { c.PostgresSchema = "A b" },
		},
		"--topology":       {func(c *Config) { c.Topology = "no/such/file" }},
		"--strategies":     {func(c *Config) { c.Strategies = map[string]string{"a": "nope"} }},
		"--subject-prefix": {func(c *Config) { c.SubjectPrefix = "ac me" }, func(c *Config) { c.SubjectPrefix = "a..b" }, func(c *Config) { c.SubjectPrefix = ">" }},
		"--reply-prefixes": {
			func(c *Config) { c.ReplyPrefixes = []string{""} }, func(c *Config) { c.ReplyPrefixes = []string{">"} },
			func(c *Config) { c.ReplyPrefixes = []string{"_INBOX.", "a b"} },
		},
	} {
		for i, spoil := range wrong {
			c := valid()
			spoil(c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), flag) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s, case %d: %v", flag, i, err)
			}
		}
	}
}
