package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/pg"
)

// Check refuses a configuration before anything is created or connected, and
// reads the topology document. Its error is a *deployment.UsageError.
func (c *Config) Check() (err error) {
	if err := c.Validate(); err != nil {
		return deployment.Usagef("%w", err)
	}
	c.SubjectPrefix = strings.TrimSuffix(c.SubjectPrefix, ".")
	c.document, err = ReadTopology(c.Topology)
	return err
}

// checkServers checks the names and addresses of servers.
func (c *Config) checkServers() error {
	if err := natsio.CheckPrefix(c.SubjectPrefix); err != nil {
		return err
	}
	for _, prefix := range c.ReplyPrefixes {
		if err := natsio.CheckReplyPrefix(prefix); err != nil {
			return err
		}
	}
	if err := deployment.CheckNATSURLs("--nats", c.NATS); err != nil {
		return err
	}
	if c.Postgres != "" && c.Postgres != "off" {
		if _, err := pgxpool.ParseConfig(c.Postgres); err != nil { // its text may have a password
			return errors.New("--postgres is neither 'off' nor a PostgreSQL URL or key=value string")
		}
	}
	if err := pg.CheckSchemaName(c.PostgresSchema); err != nil {
		return fmt.Errorf("--postgres-schema: %w", err)
	}
	return nil
}

// Schema is the schema of the engine's tables; "" = without SQL.
func (c *Config) Schema() string {
	if c.Postgres == "off" {
		return ""
	}
	return c.PostgresSchema
}

// Authenticated reports whether every client of the embedded server must authenticate.
func (c *Config) Authenticated() bool { return c.Auth == "on" }

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$`)

// checkPlaces checks the listeners and the data directory.
func (c *Config) checkPlaces() error {
	if err := deployment.CheckAddress("--http", c.HTTP); err != nil {
		return err
	}
	if c.NATS == "" {
		if err := deployment.CheckAddress("--nats-listen", c.NATSListen); err != nil {
			return err
		}
		if host, _, _ := net.SplitHostPort(c.NATSListen); !embedded.IsLoopback(host) && !(c.TLS.On() && c.Authenticated()) {
			return errors.New("--nats-listen " + c.NATSListen + ": the embedded server listens on loopback only unless clients authenticate " +
				"and it has TLS (--auth on, --tls-cert and --tls-key); or run your own NATS server and use --nats")
		}
	}
	if host, _, _ := net.SplitHostPort(c.HTTP); !embedded.IsLoopback(host) && !c.TLS.On() && !c.HTTPInsecure {
		return errors.New("--http " + c.HTTP + ": HTTP without TLS listens on loopback only, because it shows the state of the engine; " +
			"set --tls-cert and --tls-key, or --http-insecure where only this machine or a proxy reaches the address")
	}
	for _, name := range c.HTTPHosts {
		if !hostName.MatchString(name) {
			return fmt.Errorf("--http-hosts %q is not a host name", name)
		}
	}
	if c.Data == "" {
		return errors.New("--data must name a directory")
	}
	info, err := os.Stat(c.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return errors.New("--data " + c.Data + " is not a directory")
	}
	return nil
}

// checkPprof refuses profiles on a listener that other machines reach: they show what the
// memory holds, and cost time.
func (c *Config) checkPprof() error {
	if !c.Pprof {
		return nil
	}
	host, _, err := net.SplitHostPort(c.HTTP)
	if err != nil {
		return nil // --http is refused by its own name
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("--pprof needs --http on a loopback address, such as 127.0.0.1:8080: profiles are for this machine alone")
	}
	return nil
}

// OwnCredentials reports whether a path asks for credentials itself, as /mcp and the console do.
func (c *Config) OwnCredentials(path string) bool {
	return c.Authenticated() && path != "/metrics" && !strings.HasPrefix(path, "/debug/")
}
